// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/networking/pkg/http/header"
)

var iris1 = types.NamespacedName{Namespace: "ml", Name: "iris-00001"}

func open(t *testing.T, hops *hops, server *httptest.Server) string {
	t.Helper()
	port, err := hops.ensure(t.Context(), iris1, upstream{host: server.Listener.Addr().String(), h2c: server.Config.Protocols != nil})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hops.close(iris1) })
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

type response struct {
	status  int
	headers http.Header
	body    string
}

func ask(t *testing.T, url string, headers map[string]string) response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("question"))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "iris.ml.example.com"
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{reply.StatusCode, reply.Header, string(body)}
}

func TestHopChangesOnlyTheRevisionHeaders(t *testing.T) {
	var host string
	var got http.Header
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) { host, got = r.Host, r.Header })
	ask(t, open(t, newHops("127.0.0.1"), server), map[string]string{
		"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Host": "iris", "User-Agent": "test", "Knative-Serving-Revision": "forged",
	})
	want := http.Header{
		"Knative-Serving-Namespace": {"ml"}, "Knative-Serving-Revision": {"iris-00001"},
		"X-Forwarded-For": {"10.0.0.1"}, "X-Forwarded-Host": {"iris"}, "User-Agent": {"test"},
		"Content-Length": {"8"}, "Accept-Encoding": {"gzip"}, "Connection": {"close"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the headers (-want +got):\n%s", diff)
	}
	if host != "iris.ml.example.com" {
		t.Errorf("the host is %q", host)
	}
}

func TestHopAnswersOnlyOurProbes(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "from the revision") })
	hop := open(t, newHops("127.0.0.1"), server)
	for value, want := range map[string]string{probeValue: "", "probe": "from the revision"} {
		got := ask(t, hop, map[string]string{header.ProbeKey: value, header.HashKey: "content"})
		if hash := got.headers.Get(header.HashKey); got.body != want || (hash == "content") != (value == probeValue) {
			t.Errorf("the response to the probe %q has the hash %q and the body %q", value, hash, got.body)
		}
	}
}

// A client receives each part of a response as soon as the revision has sent it.
func TestHopForwardsStreams(t *testing.T) {
	received := make(chan struct{})
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-received
		fmt.Fprintln(w, "second")
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, open(t, newHops("127.0.0.1"), server), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for _, want := range []string{"first", "second"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, %v; want %q", lines.Text(), lines.Err(), want)
		}
		if want == "first" {
			close(received)
		}
	}
}

// A new connection for each request lets kube-proxy choose an endpoint each time.
func TestHopReusesNoConnection(t *testing.T) {
	clients := map[string]bool{}
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) { clients[r.RemoteAddr] = true })
	hop := open(t, newHops("127.0.0.1"), server)
	for range 3 {
		ask(t, hop, nil)
	}
	if len(clients) != 3 {
		t.Errorf("3 requests came on %d connections", len(clients))
	}
}

func TestHopUsesHTTP2IfTheRevisionDoes(t *testing.T) {
	var protocol string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { protocol = r.Proto }))
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	if got := ask(t, open(t, newHops("127.0.0.1"), server), nil); got.status != http.StatusOK || protocol != "HTTP/2.0" {
		t.Errorf("the protocol is %q, and the response %d: %s", protocol, got.status, got.body)
	}
}

func TestHopLosesNoRequestWithHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	hop, message := open(t, newHops("127.0.0.1"), server), strings.Repeat("long", 1<<14)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for range 20 {
				answer, err := http.Post(hop, "application/grpc", strings.NewReader(message)) //nolint:noctx // It ends with the test.
				if err != nil {
					t.Error(err)
					return
				}
				_ = answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Errorf("the answer is %s", answer.Status)
				}
			}
		})
	}
	all.Wait()
}

func TestHopStaysUntilItIsClosed(t *testing.T) {
	server, hops := serve(t, func(http.ResponseWriter, *http.Request) {}), newHops("127.0.0.1")
	hop := open(t, hops, server)
	if again := open(t, hops, server); again != hop {
		t.Errorf("the URL has changed from %s to %s", hop, again)
	}
	hops.close(iris1)
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(hop, "http://"))
	if err == nil {
		_ = connection.Close()
		t.Error("the hop is still open")
	}
}

func TestHopErrorNamesTheRevision(t *testing.T) {
	server := serve(t, nil)
	hop := open(t, newHops("127.0.0.1"), server)
	server.Close()
	if got := ask(t, hop, nil); got.status != http.StatusBadGateway || !strings.Contains(got.body, "ml/iris-00001") {
		t.Errorf("%d: %s", got.status, got.body)
	}
}
