// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func sendRequests(t *testing.T, gateway string, target Target, timeout time.Duration, n int) Results {
	t.Helper()
	target.Host, target.Rate = "iris.example.com", 400
	p := start(t, Config{Gateway: gateway, Targets: []Target{target}, Timeout: timeout, MaxRequests: n, MaxExamples: 3})
	<-p.Done()
	return p.Stop()
}

func listen(t *testing.T, handle func(*net.TCPConn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = conn.Close() }()
				handle(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
	})
	return listener.Addr().String()
}

func readRequest(conn net.Conn) error {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	return request.Body.Close()
}

func listenHTTP(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestErrorKinds(t *testing.T) {
	for name, test := range map[string]struct {
		gateway func(*testing.T) string
		target  Target
		timeout time.Duration
		want    Kind
		text    string
	}{
		"no listener": {
			gateway: func(t *testing.T) string {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer listener.Close()
				return listener.Addr().String()
			},
			want: Refused, text: "connection refused",
		},
		"the connection is reset": {
			gateway: func(t *testing.T) string {
				return listen(t, func(conn *net.TCPConn) {
					_ = readRequest(conn)
					_ = conn.SetLinger(0)
				})
			},
			want: Reset, text: "connection reset by peer",
		},
		"the connection is closed": {
			gateway: func(t *testing.T) string { return listen(t, func(conn *net.TCPConn) { _ = readRequest(conn) }) },
			want:    Closed, text: "EOF",
		},
		"half a response": {
			gateway: func(t *testing.T) string {
				return listen(t, func(conn *net.TCPConn) {
					_ = readRequest(conn)
					fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nX-Served-By: iris-predictor-00001-deployment-7965bcc66-grdbq\r\nContent-Length: 100\r\n\r\nhalf")
				})
			},
			want: Closed, text: "after 4 bytes of the body: unexpected EOF",
		},
		"no response in time": {
			gateway: func(t *testing.T) string {
				return listenHTTP(t, hang)
			},
			timeout: 50 * time.Millisecond,
			want:    TimedOut, text: "deadline exceeded",
		},
		"half a response in time": {
			gateway: func(t *testing.T) string {
				return listenHTTP(t, func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprint(w, "half")
					w.(http.Flusher).Flush()
					hang(w, r)
				})
			},
			timeout: 50 * time.Millisecond,
			want:    TimedOut, text: "after 4 bytes of the body: context deadline exceeded",
		},
		"no HTTP": {
			gateway: func(t *testing.T) string {
				return listen(t, func(conn *net.TCPConn) {
					_ = readRequest(conn)
					fmt.Fprint(conn, "SSH-2.0-OpenSSH_9.2\r\n\r\n")
				})
			},
			want: Other, text: "malformed HTTP",
		},
		"502": {
			gateway: func(t *testing.T) string {
				return listenHTTP(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no\nupstream", http.StatusBadGateway) })
			},
			want: "HTTP 502", text: "502 Bad Gateway: no upstream",
		},
		"404": {gateway: func(t *testing.T) string { return listenHTTP(t, http.NotFound) }, want: "HTTP 404", text: "404 Not Found: 404 page not found"},
		"a redirect": {
			gateway: func(t *testing.T) string {
				elsewhere := listenHTTP(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
				return listenHTTP(t, func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "http://"+elsewhere, http.StatusTemporaryRedirect)
				})
			},
			want: "HTTP 307", text: "307 Temporary Redirect",
		},
		"a wrong body": {
			gateway: func(t *testing.T) string {
				return listenHTTP(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, first) })
			},
			target: Target{Check: func(body []byte) error {
				if !strings.Contains(string(body), "[1, 2]") {
					return errors.New("want [1, 2]")
				}
				return nil
			}},
			want: WrongBody, text: `want [1, 2]: {"predictions": [1, 1]}`,
		},
		"an endless body": {
			gateway: func(t *testing.T) string {
				return listenHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
					for _, err := w.Write(make([]byte, 1<<16)); err == nil; {
						_, err = w.Write(make([]byte, 1<<16))
					}
				})
			},
			want: WrongBody, text: "more than 1048576 bytes",
		},
		"no revision": {
			gateway: func(t *testing.T) string {
				return listenHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set(ServedByHeader, "traefik-7965bcc66-grdbq")
					fmt.Fprint(w, "hello")
				})
			},
			want: Unattributed, text: "traefik-7965bcc66-grdbq",
		},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 8
			results := sendRequests(t, test.gateway(t), test.target, test.timeout, n)
			if diff := cmp.Diff(map[Kind]int{test.want: n}, results.All().Errors()); diff != "" {
				t.Errorf("errors (-want +got):\n%s\n%v", diff, results.Failures)
			}
			if len(results.Failures) != 3 {
				t.Errorf("%d examples, want 3", len(results.Failures))
			}
			for _, failure := range results.Failures {
				if failure.Kind != test.want || !strings.Contains(failure.Text, test.text) || failure.After <= 0 {
					t.Errorf("%s, want %q in it", failure, test.text)
				}
			}
			for _, opens := range []bool{false, true} {
				if !slices.ContainsFunc(results.Requests, func(r Request) bool { return r.New == opens }) {
					t.Errorf("no request with New = %v", opens)
				}
			}
		})
	}
}

func TestConnections(t *testing.T) {
	const n = 120
	for name, test := range map[string]struct {
		share              *float64
		opened, keptAtMost int
	}{
		"all kept alive":  {share: new(0.0), opened: 0, keptAtMost: 4},
		"all new":         {share: new(1.0), opened: n, keptAtMost: 0},
		"a quarter new":   {share: new(0.25), opened: n / 4, keptAtMost: 4},
		"half by default": {opened: n / 2, keptAtMost: 4},
		"a share of 70 %": {share: new(0.7), opened: 84, keptAtMost: 4},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			requests := map[string]int{} // By connection.
			gateway := listenHTTP(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				requests[r.RemoteAddr]++
				mu.Unlock()
				answer(w, first)
			})
			results := sendRequests(t, gateway, Target{NewConnections: test.share, KeptAlive: 4}, 0, n)
			if err := NoErrors(results.All()); err != nil {
				t.Fatal(err)
			}
			opened := 0
			for _, request := range results.Requests {
				if request.New {
					opened++
				}
			}
			if opened != test.opened {
				t.Errorf("%d requests count as new, want %d", opened, test.opened)
			}
			if least, most := test.opened, test.opened+test.keptAtMost; len(requests) < least || len(requests) > most {
				t.Errorf("the server saw %d connections, want %d to %d", len(requests), least, most)
			}
			single := 0
			for _, n := range requests {
				if n == 1 {
					single++
				}
			}
			if single < test.opened || test.opened < n && len(requests) == single {
				t.Errorf("%d of %d connections had one request, want at least %d, and not all if any are kept alive", single, len(requests), test.opened)
			}
		})
	}
}

// TestHTTP2 checks that requests use HTTP/2 with prior knowledge, as gRPC does, and that Revision
// can read the trailer.
func TestHTTP2(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(http.TrailerPrefix+"Proto", r.Proto)
		w.WriteHeader(http.StatusOK)
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)

	const n = 20
	trailer := func(response *http.Response, _ []byte) string { return response.Trailer.Get("Proto") }
	results := sendRequests(t, server.Listener.Addr().String(), Target{HTTP2: true, Revision: trailer}, time.Second, n)
	if err := NoErrors(results.All()); err != nil {
		t.Fatal(err)
	}
	if got := results.All().Answers(); got["HTTP/2.0"] != n {
		t.Errorf("the answers are %v", got)
	}
	if got := connections.Load(); got < n/2 {
		t.Errorf("%d connections, want one for half of the %d requests", got, n)
	}
}

// A request on a connection that the gateway closes is an error and is not retried.
func TestRequestsAreNotRetried(t *testing.T) {
	var seen atomic.Int32
	gateway := listen(t, func(conn *net.TCPConn) {
		reader := bufio.NewReader(conn)
		for i := range 2 {
			request, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			_ = request.Body.Close()
			seen.Add(1)
			if i == 0 {
				fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nX-Served-By: iris-predictor-00001-deployment-7965bcc66-grdbq\r\nContent-Length: 0\r\n\r\n")
			}
		}
	})
	results := sendRequests(t, gateway, Target{NewConnections: new(0.0), KeptAlive: 1}, 0, 40)
	if seen.Load() != 40 {
		t.Errorf("the gateway saw %d requests, want 40", seen.Load())
	}
	if diff := cmp.Diff(map[Kind]int{Closed: 20}, results.All().Errors()); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestRejectedAddresses(t *testing.T) {
	for name, test := range map[string]struct {
		gateway string
		allowed []string
		want    string
	}{
		"a public address":                 {"8.8.8.8:80", nil, "neither on loopback nor within the allowed prefixes"},
		"a public IPv6 address":            {"[2600::1]:80", nil, "neither on loopback nor within the allowed prefixes"},
		"a private address not allowed":    {"10.88.0.1:80", nil, "neither on loopback nor within the allowed prefixes"},
		"outside the allowed network":      {"10.88.1.1:80", []string{"10.88.0.0/24"}, "neither on loopback nor within the allowed prefixes"},
		"an IPv4-mapped address":           {"[::ffff:8.8.8.8]:80", nil, "neither on loopback nor within the allowed prefixes"},
		"the unspecified address":          {"0.0.0.0:80", nil, "neither on loopback nor within the allowed prefixes"},
		"a host name":                      {"localhost:80", nil, "want an IP address and a port"},
		"no port":                          {"127.0.0.1", nil, "want an IP address and a port"},
		"port 0":                           {"127.0.0.1:0", nil, "port 0 cannot be connected to"},
		"a public prefix":                  {"8.8.8.8:80", []string{"8.8.8.0/24"}, "not in a range for private networks or tests"},
		"all networks":                     {"8.8.8.8:80", []string{"0.0.0.0/0"}, "not in a range for private networks or tests"},
		"all private networks":             {"10.88.0.1:80", []string{"10.0.0.0/8"}, "name the test's own network, of /16 or less"},
		"all private IPv6 networks":        {"[fd00::1]:80", []string{"fd00::/8"}, "name the test's own network, of /48 or less"},
		"one bad prefix beside a good one": {"10.88.0.1:80", []string{"10.88.0.0/24", "1.0.0.0/8"}, "not in a range for private networks or tests"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Start(t.Context(), Config{
				Gateway: test.gateway, Allowed: prefixes(test.allowed...), Targets: []Target{{Host: "iris.example.com"}},
				dial: func(context.Context) (net.Conn, error) {
					t.Error("connected to a rejected address")
					return nil, net.ErrClosed
				},
			})
			if err == nil {
				p.Stop()
				t.Fatal("Start() accepted the address")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q in it", err, test.want)
			}
		})
	}
}

func TestAllowedAddresses(t *testing.T) {
	for _, test := range []struct{ gateway, allowed, want string }{
		{"127.0.0.1:8080", "", "127.0.0.1:8080"},
		{"127.12.0.1:8080", "", "127.12.0.1:8080"},
		{"[::1]:8080", "", "[::1]:8080"},
		{"[::ffff:127.0.0.1]:8080", "", "127.0.0.1:8080"},
		{"10.88.0.1:80", "10.88.0.0/24", "10.88.0.1:80"},
		{"192.0.2.7:80", "192.0.2.7/32", "192.0.2.7:80"},
		{"[fd00:88::1]:80", "fd00:88::/64", "[fd00:88::1]:80"},
		{"[fe80::1%br0]:80", "fe80::/64", "[fe80::1%br0]:80"},
	} {
		var allowed []netip.Prefix
		if test.allowed != "" {
			allowed = prefixes(test.allowed)
		}
		if have, err := parseGateway(test.gateway, allowed); err != nil || have.String() != test.want {
			t.Errorf("%s with %s allowed: %s, %v; want %s", test.gateway, test.allowed, have, err, test.want)
		}
	}
}

func TestRejectedConfigs(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no target":      {func(c *Config) { c.Targets = nil }, "no target"},
		"no host":        {func(c *Config) { c.Targets[0].Host = "" }, "a target has no host"},
		"duplicates":     {func(c *Config) { c.Targets = append(c.Targets, c.Targets[0]) }, `two targets have the name "a.example.com"`},
		"a rate below 0": {func(c *Config) { c.Targets[0].Rate = -1 }, "the rate is -1 requests per second"},
		"too many":       {func(c *Config) { c.Targets[0].Rate = 5001 }, "5001 requests per second are too many"},
		"a path":         {func(c *Config) { c.Targets[0].Path = "v1" }, `path "v1" does not begin with a slash`},
		"a share of 50":  {func(c *Config) { c.Targets[0].NewConnections = new(50.0) }, "the share of new connections is 50; use 0 to 1"},
		"no time":        {func(c *Config) { c.MaxDuration = -1 }, "limits must be positive"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Config{Gateway: "127.0.0.1:1", Targets: []Target{{Host: "a.example.com"}}}
			test.change(&c)
			if _, err := Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q in it", err, test.want)
			}
		})
	}
}

func TestRevisionOfPod(t *testing.T) {
	for pod, want := range map[string]string{
		"sklearn-iris-predictor-00001-deployment-7965bcc66-grdbq":         "sklearn-iris-predictor-00001",
		"a-predictor-00002-predictor-00010-deployment-6744dbbd8c-wfghv":   "a-predictor-00002-predictor-00010",
		"a-predictor-123456-deployment-6744dbbd8c-wfghv":                  "a-predictor-123456",
		"a-name-so-long-that-it-is-cut-off-predictor-00001-deploymewfghv": "a-name-so-long-that-it-is-cut-off-predictor-00001",
		"sklearn-iris-predictor-00001":                                    "",
		"sklearn-iris-predictor-default-7965bcc66-grdbq":                  "",
		"predictor-00001-deployment-7965bcc66-grdbq":                      "",
		"Sklearn-predictor-00001-deployment-7965bcc66-grdbq":              "",
		"": "",
	} {
		if have := RevisionOfPod(pod); have != want {
			t.Errorf("%s: %q, want %q", pod, have, want)
		}
	}
}
