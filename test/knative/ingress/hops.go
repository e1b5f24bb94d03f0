// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"knative.dev/networking/pkg/http/header"
)

type hops struct {
	address string

	mu     sync.Mutex
	active map[types.NamespacedName]*hop
}

// hop forwards requests to the Service of one revision.
type hop struct {
	upstream upstream
	server   *http.Server
	listener net.Listener
	port     int
}

type upstream struct {
	host string
	// h2c is set if the Service uses HTTP/2 without TLS.
	h2c bool
}

func newHops(address string) *hops {
	return &hops{address: address, active: map[types.NamespacedName]*hop{}}
}

// ensure opens the hop of a revision if it is not open and returns its port.
func (h *hops) ensure(ctx context.Context, revision types.NamespacedName, to upstream) (port int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if open, found := h.active[revision]; found {
		if open.upstream == to {
			return open.port, nil
		}
		h.closeLocked(revision)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(h.address, "0"))
	if err != nil {
		return 0, fmt.Errorf("opening the hop of %s: %w", revision, err)
	}
	opened := &hop{upstream: to, server: newServer(revision, to), listener: listener}
	if address, ok := listener.Addr().(*net.TCPAddr); ok {
		opened.port = address.Port
	}
	h.active[revision] = opened
	go func() {
		if err := opened.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Fatalf("the hop of %s failed: %v", revision, err)
		}
	}()
	return opened.port, nil
}

func (h *hops) close(revision types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closeLocked(revision)
}

func (h *hops) closeLocked(revision types.NamespacedName) {
	if open, found := h.active[revision]; found {
		_ = open.server.Close()
		_ = open.listener.Close() // The server does not know the listener until Serve is called.
		delete(h.active, revision)
	}
}

// newServer returns a server without an idle timeout, so that it never closes a connection on which
// the gateway is sending a request.
func newServer(revision types.NamespacedName, to upstream) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Handler: answerProbes(newProxy(revision, to)), Protocols: protocols, ReadHeaderTimeout: time.Minute}
}

// answerProbes answers this controller's probes with the hash that the gateway's rule has added as
// a header.
func answerProbes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(header.ProbeKey) != probeValue {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set(header.HashKey, r.Header.Get(header.HashKey))
	})
}

// transportPerRequest creates a new transport for each request. With HTTP/2, a shared transport
// without keep-alives can still send a request on the connection of another request and lose it
// when that connection closes.
type transportPerRequest func() http.RoundTripper

// RoundTrip implements http.RoundTripper.
func (t transportPerRequest) RoundTrip(request *http.Request) (*http.Response, error) {
	return t().RoundTrip(request)
}

func newTransport(h2c bool) http.RoundTripper {
	var protocols http.Protocols
	protocols.SetHTTP1(!h2c)
	protocols.SetUnencryptedHTTP2(h2c)
	newOne := func() http.RoundTripper {
		return &http.Transport{
			DialContext:        (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			DisableKeepAlives:  true,
			DisableCompression: true,
			Protocols:          &protocols,
		}
	}
	if h2c {
		return transportPerRequest(newOne)
	}
	return newOne()
}

// newProxy returns a proxy that forwards requests unchanged except for the headers that name the
// revision. Each request gets a new connection, for which kube-proxy chooses an endpoint. A reused
// connection would keep using an endpoint that is terminating, or the activator after it has left
// the path.
func newProxy(revision types.NamespacedName, to upstream) http.Handler {
	destination := &url.URL{Scheme: "http", Host: to.host}
	return &httputil.ReverseProxy{
		Transport:     newTransport(to.h2c),
		FlushInterval: -1, // Flush immediately because responses can be streams.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(destination)
			r.Out.Host = r.In.Host
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if values, found := r.In.Header[name]; found {
					r.Out.Header[name] = values
				}
			}
			for name, value := range hopHeaders(revision.Namespace, revision.Name) {
				r.Out.Header.Set(name, value)
			}
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil { // Otherwise the client has disconnected.
				log.Printf("forwarding a request to %s: %v", revision, err)
			}
			http.Error(w, fmt.Sprintf("the hop of %s: %v", revision, err), http.StatusBadGateway)
		},
	}
}
