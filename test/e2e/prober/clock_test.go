// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// These tests run with a fake clock, so all times are exact.

const (
	first  = "iris-predictor-00001"
	second = "iris-predictor-00002"
)

type pipeNetwork struct {
	waiting chan net.Conn
	closing sync.Once
	closed  chan struct{}
	dialed  atomic.Int32
}

func newPipeNetwork() *pipeNetwork {
	return &pipeNetwork{waiting: make(chan net.Conn), closed: make(chan struct{})}
}

func (n *pipeNetwork) dial(ctx context.Context) (net.Conn, error) {
	n.dialed.Add(1)
	client, server := net.Pipe()
	select {
	case n.waiting <- server:
		return client, nil
	case <-n.closed:
	case <-ctx.Done():
	}
	return nil, io.ErrClosedPipe
}

func (n *pipeNetwork) Accept() (net.Conn, error) {
	select {
	case conn := <-n.waiting:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *pipeNetwork) Close() error {
	n.closing.Do(func() { close(n.closed) })
	return nil
}

func (n *pipeNetwork) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 88, 0, 1), Port: 80} }

// serve starts a gateway at 10.88.0.1:80 that runs until the test ends.
func serve(t *testing.T, handler http.HandlerFunc) (*pipeNetwork, Config) {
	t.Helper()
	network := newPipeNetwork()
	var handling sync.WaitGroup
	server := &http.Server{ReadHeaderTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handling.Add(1)
		defer handling.Done()
		handler(w, r)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(network)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
		handling.Wait()
	})
	return network, config(network)
}

func config(network *pipeNetwork) Config {
	return Config{
		Gateway: "10.88.0.1:80", Allowed: prefixes("10.88.0.0/24"),
		Targets: []Target{{Host: "iris.example.com", Path: "/v1/models/iris:predict", Body: []byte(`{}`)}},
		dial:    network.dial,
	}
}

func answer(w http.ResponseWriter, revision string) {
	w.Header().Set(ServedByHeader, revision+"-deployment-7965bcc66-grdbq")
	fmt.Fprint(w, `{"predictions": [1, 1]}`)
}

func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // The server detects a closed connection only after it has read the body.
	<-r.Context().Done()
}

func start(t *testing.T, c Config) *Prober {
	t.Helper()
	p, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	return p
}

func TestStallDoesNotLowerTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const begins, ends = time.Second, 3 * time.Second
		begin := time.Now()
		var mu sync.Mutex
		arrivals := map[time.Duration]int{}
		_, c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			now := time.Since(begin)
			mu.Lock()
			arrivals[now]++
			mu.Unlock()
			if now >= begins && now < ends {
				time.Sleep(ends - now)
			}
			answer(w, first)
		})
		c.Targets[0].KeptAlive = 4
		p := start(t, c)
		time.Sleep(5*time.Second - time.Millisecond)
		results := p.Stop()

		if len(results.Requests) != 500 {
			t.Errorf("%d requests in 5 seconds at 100 a second, want 500", len(results.Requests))
		}
		for i, request := range results.Requests {
			due := time.Duration(i) * 10 * time.Millisecond
			latency := time.Duration(0)
			if due >= begins && due < ends {
				latency = ends - due // From when it was due, including the wait for a connection.
			}
			if request.Due != due || request.Latency != latency || request.Error != "" {
				t.Errorf("request %d: %+v, want it due at %s with a latency of %s", i, request, due, latency)
			}
			if request.New && arrivals[due] == 0 {
				t.Errorf("request %d, on a new connection, was not sent at %s", i, due)
			}
		}
		// The stall held 4 kept-alive connections. The requests that waited for them are sent when
		// it ends.
		if want := 1 + 100 - 4; arrivals[ends] != want {
			t.Errorf("%d requests arrived when the stall was over, want %d", arrivals[ends], want)
		}
		stalled := results.Window("stall", begins, ends)
		summary := stalled.Summary()
		if summary.P50 != 1000*time.Millisecond || summary.Max != 2*time.Second {
			t.Errorf("latency in the stall: %s", summary)
		}
	})
}

func TestTimeoutCountsFromWhenARequestWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := serve(t, hang)
		c.Targets[0].KeptAlive = 1 // All other requests wait for it.
		c.MaxRequests = 200
		p := start(t, c)
		<-p.Done()
		results := p.Stop()
		for _, request := range results.Requests {
			if request.Error != TimedOut || request.Latency != DefaultTimeout {
				t.Fatalf("%+v, want a timeout after %s", request, DefaultTimeout)
			}
		}
		if diff := cmp.Diff(map[Kind]int{TimedOut: 200}, results.All().Errors()); diff != "" {
			t.Errorf("errors (-want +got):\n%s", diff)
		}
		if len(results.Failures) != defaultMaxExamples {
			t.Errorf("%d examples, want %d", len(results.Failures), defaultMaxExamples)
		}
	})
}

// TestShiftIsExact checks that a request in flight during a shift counts for the window before it.
func TestShiftIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var revision atomic.Value
		revision.Store(first)
		_, c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(25 * time.Millisecond)
			answer(w, revision.Load().(string)) // Requests that are in flight at the shift reach the new revision.
		})
		p := start(t, c)
		begun := p.Mark("begun")
		time.Sleep(time.Second)
		revision.Store(second)
		shifted := p.Mark("shifted")
		time.Sleep(time.Second - time.Millisecond)
		results := p.Stop()

		before, after := results.Between(begun, shifted), results.Since(shifted)
		if diff := cmp.Diff(map[string]int{first: 98, second: 2}, before.Answers()); diff != "" {
			t.Errorf("before the shift (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]int{second: 100}, after.Answers()); diff != "" {
			t.Errorf("after the shift (-want +got):\n%s", diff)
		}
		for _, err := range []error{
			NoErrors(before), NoErrors(after), NoRequestsTo(before, second), NoRequestsTo(after, first),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		if err := NoRequestsTo(after, second); err == nil {
			t.Error("NoRequestsTo() = nil with 100 requests")
		}
		if took, found := after.UntilFirst(second); !found || took != 25*time.Millisecond {
			t.Errorf("the first answer after the shift came after %s", took)
		}
		if last, found := before.UntilLast(first); !found || last != 970*time.Millisecond {
			t.Errorf("the last request to the old revision was due after %s", last)
		}
		if last, found := after.UntilLast(first); found {
			t.Errorf("a request to the old revision was due %s after the shift", last)
		}
	})
}

func TestWindowsHaveNoGapOrOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, first) })
		p := start(t, c)
		for _, name := range []string{"a", "b", "b"} { // Names need not be unique.
			time.Sleep(500 * time.Millisecond)
			p.Mark(name)
		}
		time.Sleep(255 * time.Millisecond)
		results := p.Stop()
		type window struct {
			Name     string
			From, To time.Duration
			Requests int
		}
		var windows, buckets []window
		for _, w := range results.Windows() {
			windows = append(windows, window{w.Name, w.From, w.To, len(w.Requests)})
		}
		for _, w := range results.Buckets(time.Second) {
			buckets = append(buckets, window{w.Name, w.From, w.To, len(w.Requests)})
		}
		const s = time.Second
		if diff := cmp.Diff([]window{{"start", 0, s / 2, 50}, {"a", s / 2, s, 50}, {"b", s, 3 * s / 2, 50}, {"b", 3 * s / 2, 1755 * time.Millisecond, 26}}, windows); diff != "" {
			t.Errorf("windows (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]window{{"0.000 s", 0, s, 100}, {"1.000 s", s, 1755 * time.Millisecond, 76}}, buckets); diff != "" {
			t.Errorf("buckets (-want +got):\n%s", diff)
		}
		var last []int
		for _, w := range results.Windows()[3].Buckets(120 * time.Millisecond) {
			last = append(last, len(w.Requests)) // The remainder of 15 ms is added to the last bucket.
		}
		if diff := cmp.Diff([]int{12, 14}, last); diff != "" {
			t.Errorf("buckets of the last window (-want +got):\n%s", diff)
		}
	})
}

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Host == "slow.example.com":
				time.Sleep(300 * time.Millisecond)
				answer(w, second)
			case time.Since(begin) < time.Second:
				w.WriteHeader(http.StatusBadGateway) // Failed requests count.
			default:
				answer(w, first)
			}
		})
		c.Targets = append(c.Targets, Target{Name: "slow", Host: "slow.example.com", Rate: 10})
		p := start(t, c)
		at := func(want time.Duration) {
			t.Helper()
			synctest.Wait()
			if have := time.Since(begin); have != want {
				t.Errorf("it is %s, want %s", have, want)
			}
		}
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		time.Sleep(500 * time.Millisecond)
		p.Mark("phase")
		check(p.Until(t.Context(), 100, "iris.example.com"))
		at(1490 * time.Millisecond)
		check(p.Until(t.Context(), 20))
		at(550*time.Millisecond + 1900*time.Millisecond + 300*time.Millisecond)

		p.Mark("late")
		ctx, cancel := context.WithTimeout(t.Context(), 95*time.Millisecond)
		defer cancel()
		want := `prober: 10 of 11 requests done since "late": context deadline exceeded`
		if err := p.Until(ctx, 11, "iris.example.com"); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		want = `prober: no target is named "missing"`
		if err := p.Until(t.Context(), 1, "missing"); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	})
}

func TestLimits(t *testing.T) {
	for name, test := range map[string]struct {
		limit    func(*Config)
		requests int
		want     string
	}{
		"of requests": {func(c *Config) { c.MaxRequests = 50 }, 50, "the limit of 50 requests"},
		"of time":     {func(c *Config) { c.MaxDuration = 995 * time.Millisecond }, 100, "the limit of 995ms"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen atomic.Int32
				_, c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					seen.Add(1)
					answer(w, first)
				})
				test.limit(&c)
				p := start(t, c)
				want := fmt.Sprintf(`prober: stopped by %s with %d of 1000 requests done since "start"`, test.want, test.requests)
				if err := p.Until(t.Context(), 1000); err == nil || err.Error() != want {
					t.Errorf("%v, want %s", err, want)
				}
				time.Sleep(time.Minute)
				results := p.Stop()
				if n := int(seen.Load()); n != test.requests || len(results.Requests) != n || results.Limit != test.want {
					t.Errorf("%d requests seen, %d in the results, stopped by %q; want %d, stopped by %q",
						n, len(results.Requests), results.Limit, test.requests, test.want)
				}
			})
		})
	}
}

// Requests in flight when the prober stops, or its context ends, are answered and counted.
func TestStopWaitsForRequestsInFlight(t *testing.T) {
	for name, stop := range map[string]func(*Prober, context.CancelFunc){
		"Stop":                func(p *Prober, _ context.CancelFunc) { p.Stop() },
		"the context ends":    func(_ *Prober, cancel context.CancelFunc) { cancel() },
		"Results before Stop": func(p *Prober, _ context.CancelFunc) { p.Results(); p.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen atomic.Int32
				_, c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					seen.Add(1)
					time.Sleep(701 * time.Millisecond)
					answer(w, first)
				})
				ctx, cancel := context.WithCancel(t.Context())
				p, err := Start(ctx, c)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(995 * time.Millisecond)
				stop(p, cancel)
				results := p.Stop()
				cancel()
				if err := NoErrors(results.All()); err != nil {
					t.Error(err)
				}
				if len(results.Requests) < 100 || len(results.Requests) != int(seen.Load()) {
					t.Errorf("%d requests in the results, %d seen; want 100 at least", len(results.Requests), seen.Load())
				}
			})
		})
	}
}

func TestResultsWaitForAllDueRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(2 * time.Second)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		p := start(t, c)
		time.Sleep(995 * time.Millisecond)
		results := p.Results()
		if len(results.Requests) != 100 || results.End != 995*time.Millisecond {
			t.Errorf("%d requests until %s, want all 100 that were due before 995 ms", len(results.Requests), results.End)
		}
		if diff := cmp.Diff(map[Kind]int{"HTTP 503": 100}, results.All().Errors()); diff != "" {
			t.Errorf("errors (-want +got):\n%s", diff)
		}
	})
}

// A stalled service does not delay the requests to other services.
func TestStreamsAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Host == "stalls.example.com" {
				time.Sleep(5 * time.Second)
			}
			answer(w, first)
		})
		c.Targets = []Target{
			{Name: "stalls", Host: "stalls.example.com", Rate: 200, KeptAlive: 1},
			{Name: "steady", Host: "steady.example.com", Rate: 20},
			{Name: "slow", Host: "slow.example.com", Rate: 2.5},
		}
		p := start(t, c)
		time.Sleep(2 * time.Second)
		results := p.Stop()
		for target, want := range map[string]int{"stalls": 400, "steady": 40, "slow": 5} {
			of := results.Of(target)
			if len(of.Requests) != want {
				t.Errorf("%s: %d requests in 2 seconds, want %d", target, len(of.Requests), want)
			}
			if longest := of.All().Latency(1); target != "stalls" && longest != 0 {
				t.Errorf("%s was delayed by %s", target, longest)
			}
		}
	})
}

func TestPoolIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network, c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second)
			answer(w, first)
		})
		c.Targets[0].NewConnections, c.Targets[0].KeptAlive = new(0.0), 3
		c.MaxRequests = 20
		p := start(t, c)
		<-p.Done()
		results := p.Stop()
		if n := network.dialed.Load(); n != 3 {
			t.Errorf("%d connections, want 3", n)
		}
		if last := results.Requests[19]; last.Error != "" || last.Done() != 7020*time.Millisecond-10*time.Millisecond {
			t.Errorf("the last of 20, three at a time: %+v, done at %s", last, last.Done())
		}
	})
}

func TestNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:3128")
	t.Setenv("http_proxy", "http://192.0.2.1:3128")
	synctest.Test(t, func(t *testing.T) {
		_, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.RequestURI != "/v1/models/iris:predict" || r.Host != "iris.example.com" || r.Method != http.MethodPost {
				t.Errorf("%s %s to host %s", r.Method, r.RequestURI, r.Host)
			}
			answer(w, first)
		})
		c.MaxRequests = 2
		p := start(t, c)
		<-p.Done()
		if err := NoErrors(p.Stop().All()); err != nil {
			t.Error(err)
		}
	})
}
