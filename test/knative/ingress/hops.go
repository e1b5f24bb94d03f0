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

// hops are the ports of this program that lead to revisions.
type hops struct {
	// address is where the gateway reaches this program.
	address string

	mu     sync.Mutex
	active map[types.NamespacedName]*hop
}

// hop is the way to one revision, by the Service that Knative makes for it.
type hop struct {
	target   target
	server   *http.Server
	listener net.Listener
	port     int
}

// target is where a hop leads.
type target struct {
	// host is the address and the port of a Service.
	host string
	// h2c says that HTTP/2 is spoken there, without TLS.
	h2c bool
}

func newHops(address string) *hops {
	return &hops{address: address, active: map[types.NamespacedName]*hop{}}
}

// lead opens the hop of a revision, if it is not open, and returns its port.
func (h *hops) lead(ctx context.Context, revision types.NamespacedName, to target) (port int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if open, found := h.active[revision]; found {
		if open.target == to {
			return open.port, nil
		}
		h.end(revision)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(h.address, "0"))
	if err != nil {
		return 0, fmt.Errorf("opening the hop of %s: %w", revision, err)
	}
	opened := &hop{target: to, server: newServer(revision, to), listener: listener}
	if address, ok := listener.Addr().(*net.TCPAddr); ok {
		opened.port = address.Port
	}
	h.active[revision] = opened
	go func() {
		if err := opened.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Fatalf("the hop of %s has ended: %v", revision, err)
		}
	}()
	return opened.port, nil
}

// close closes the hop of a revision that is no more.
func (h *hops) close(revision types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(revision)
}

func (h *hops) end(revision types.NamespacedName) {
	if open, found := h.active[revision]; found {
		_ = open.server.Close()
		_ = open.listener.Close() // The server knows it only once its goroutine has come to serve.
		delete(h.active, revision)
	}
}

// newServer keeps connections of the gateway open for as long as the gateway does: so it never
// closes one on which the gateway is just sending a request.
func newServer(revision types.NamespacedName, to target) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Handler: answerProbes(newProxy(revision, to)), Protocols: protocols, ReadHeaderTimeout: time.Minute}
}

// answerProbes answers our own probes: with what the rule of the gateway that they came by has put
// into a header.
func answerProbes(others http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(header.ProbeKey) != probeValue {
			others.ServeHTTP(w, r)
			return
		}
		w.Header().Set(header.HashKey, r.Header.Get(header.HashKey))
	})
}

// connecting gives each request a transport of its own. In HTTP/2 one without keep-alive still lets
// a request onto the connection of another, which ends with that.
type connecting func() http.RoundTripper

// RoundTrip implements http.RoundTripper.
func (c connecting) RoundTrip(request *http.Request) (*http.Response, error) {
	return c().RoundTrip(request)
}

func newTransport(h2c bool) http.RoundTripper {
	var protocols http.Protocols
	protocols.SetHTTP1(!h2c)
	protocols.SetUnencryptedHTTP2(h2c)
	one := func() http.RoundTripper {
		return &http.Transport{
			DialContext:        (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			DisableKeepAlives:  true,
			DisableCompression: true,
			Protocols:          &protocols,
		}
	}
	if h2c {
		return connecting(one)
	}
	return one()
}

// newProxy passes requests on as they are, with the headers that tell the revision. Each gets a
// connection of its own, for which kube-proxy chooses an endpoint: one that was kept would stay
// with an endpoint that is leaving, and with the activator when it has left the path.
func newProxy(revision types.NamespacedName, to target) http.Handler {
	destination := &url.URL{Scheme: "http", Host: to.host}
	return &httputil.ReverseProxy{
		Transport:     newTransport(to.h2c),
		FlushInterval: -1, // At once: answers may be streams.
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
			if r.Context().Err() == nil { // Else the client has gone.
				log.Printf("a request to %s: %v", revision, err)
			}
			http.Error(w, fmt.Sprintf("the hop of %s: %v", revision, err), http.StatusBadGateway)
		},
	}
}
