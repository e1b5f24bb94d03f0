// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Testserver is a model server for tests. It implements the parts of KServe's v1 protocol and gRPC
// protocol that clients need. Each response names the pod that sent it. Flags and requests make it
// fail:
//
//	testserver --model_name=iris --answer=2 --start-after=3s
//	curl -X PUT -d false http://<pod>:8080/test/ready
//
// With --ask it sends one request to a URL instead of serving. The exit code is 0 if the status of
// the response is 200.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

type options struct {
	model      string
	port       int
	grpcPort   int
	answer     int
	startAfter time.Duration
	neverReady bool
	crashAfter time.Duration
	work       time.Duration
	drain      time.Duration
	ask        string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // A second signal ends the program immediately.
	if err := run(ctx, parse(os.Args[1:])); err != nil {
		log.Fatal(err)
	}
}

func parse(args []string) options {
	var o options
	flags := flag.NewFlagSet("testserver", flag.ExitOnError)
	flags.StringVar(&o.model, "model_name", "model", "the name of the model")
	flags.IntVar(&o.port, "http_port", 8080, "the port for HTTP/1.1 and for HTTP/2 without TLS")
	flags.IntVar(&o.grpcPort, "grpc_port", 0, "an additional port for the same protocols; gRPC uses HTTP/2")
	flags.IntVar(&o.answer, "answer", 1, "the prediction of the model")
	flags.DurationVar(&o.startAfter, "start-after", 0, "how long the model takes to load")
	flags.BoolVar(&o.neverReady, "never-ready", false, "never become ready")
	flags.DurationVar(&o.crashAfter, "crash-after", 0, "exit with an error after this time")
	flags.DurationVar(&o.work, "work", 0, "how much CPU time each request takes")
	flags.DurationVar(&o.drain, "drain", 5*time.Second, "how long to accept requests after SIGTERM")
	flags.StringVar(&o.ask, "ask", "", "send a request to this `URL` instead of serving")
	_ = flags.Parse(args) // It exits on errors.
	return o
}

type server struct {
	options
	pod      string
	ready    atomic.Bool
	draining atomic.Bool
}

func run(ctx context.Context, o options) error {
	if o.ask != "" {
		return ask(ctx, o.ask)
	}
	pod, err := os.Hostname()
	if err != nil {
		return err
	}
	s := &server{options: o, pod: pod}
	listeners, err := o.listen()
	if err != nil {
		return err
	}
	if !o.neverReady {
		time.AfterFunc(o.startAfter, func() { s.ready.Store(true) })
	}
	if o.crashAfter > 0 {
		time.AfterFunc(o.crashAfter, func() { log.Fatal("crashing after ", o.crashAfter, ", as -crash-after asks") })
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	web := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, Protocols: &protocols}
	ended := make(chan error, len(listeners))
	for _, listener := range listeners {
		go func() { ended <- web.Serve(listener) }()
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	return s.shutDown(web) //nolint:contextcheck // The context has ended.
}

func (o options) listen() ([]net.Listener, error) {
	ports := []int{o.port}
	if o.grpcPort != 0 {
		ports = append(ports, o.grpcPort)
	}
	var listeners []net.Listener
	for _, port := range ports {
		listener, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(port)))
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, listener)
	}
	return listeners, nil
}

func ask(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, answer.Status)
	}
	return nil
}

// shutDown keeps serving for the drain period because clients learn with a delay that the pod is
// terminating. Meanwhile it asks clients to close their connections.
func (s *server) shutDown(web *http.Server) error {
	s.draining.Store(true) // Idle connections stay open, because the gateway may be about to use them.
	<-time.After(s.drain)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := web.Shutdown(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("waiting for the last requests: %w", err)
	}
	return nil
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"status":"alive"}`) })
	mux.HandleFunc("GET /v1/models/{model}", s.isReady)
	mux.HandleFunc("POST /v1/models/{request}", s.predict)
	mux.HandleFunc("GET /v2/health/ready", s.isReady)
	mux.HandleFunc("POST /inference.GRPCInferenceService/ModelReady", s.isReadyByGRPC)
	mux.HandleFunc("PUT /test/ready", s.setReady)
	mux.HandleFunc("POST /test/crash", func(http.ResponseWriter, *http.Request) { log.Fatal("crashing, as the request asks") })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Served-By", s.pod)
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *server) isReady(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	ready := s.ready.Load()
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintf(w, `{"name":%q,"ready":%t}`+"\n", s.model, ready)
}

// isReadyByGRPC writes a gRPC response: one byte for "not compressed", four bytes for the length,
// the message, and the status in the trailer.
func (s *server) isReadyByGRPC(w http.ResponseWriter, r *http.Request) {
	_, err := io.Copy(io.Discard, r.Body)
	ready := []byte{0, 0, 0, 0, 0} // An empty ModelReadyResponse means false.
	if s.ready.Load() {
		ready = []byte{0, 0, 0, 0, 2, 1 << 3, 1} // Field 1 is true.
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	if _, writing := w.Write(ready); err != nil || writing != nil {
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "14")
	}
}

func (s *server) setReady(w http.ResponseWriter, r *http.Request) {
	word, err := io.ReadAll(io.LimitReader(r.Body, 16))
	if err == nil {
		var ready bool
		if ready, err = strconv.ParseBool(string(word)); err == nil {
			s.ready.Store(ready)
			return
		}
	}
	http.Error(w, err.Error(), http.StatusBadRequest)
}

func (s *server) predict(w http.ResponseWriter, r *http.Request) {
	if want := s.model + ":predict"; r.PathValue("request") != want {
		http.Error(w, fmt.Sprintf(`{"error":"ask /v1/models/%s"}`, want), http.StatusNotFound)
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for begin := time.Now(); time.Since(begin) < s.work; { //nolint:revive // Use CPU time as a model does.
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"predictions":[%d,%d]}`+"\n", s.answer, s.answer)
}
