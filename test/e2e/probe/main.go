// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Probe sends requests through a gateway at a constant rate and prints every second which revisions
// answered:
//
//	go run ./test/e2e/probe -gateway 127.0.0.1:8080 -host sklearn-iris.kserve-test.example.com \
//	    -path /v1/models/sklearn-iris:predict -data @iris-input.json
//
// It stops after the duration -for or on Ctrl-C, and exits with 1 if a request failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/serinus-io/serinus/test/e2e/prober"
	"github.com/serinus-io/serinus/test/e2e/timeline"
	"github.com/serinus-io/serinus/test/seed"
)

var errFailed = errors.New("requests failed")

type options struct {
	config  prober.Config
	picture string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal terminates the program immediately.
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	target := prober.Target{NewConnections: new(0.5)}
	flags.StringVar(&o.config.Gateway, "gateway", "127.0.0.1:8080", "address and port that all requests are sent to")
	flags.Func("allow", "network that may contain the gateway, such as 10.88.0.0/24; only loopback is allowed by default", func(value string) error {
		prefix, err := netip.ParsePrefix(value)
		o.config.Allowed = append(o.config.Allowed, prefix)
		return err
	})
	flags.StringVar(&target.Host, "host", "", "host name of the InferenceService or of a tag")
	flags.StringVar(&target.Path, "path", "/v1/models/sklearn-iris:predict", "path of the requests")
	data := flags.String("data", seed.Input, "body of the requests, or @ followed by the name of a file")
	flags.Float64Var(&target.Rate, "rate", prober.DefaultRate, "requests per second")
	flags.Float64Var(target.NewConnections, "new", 0.5, "share of requests that open a new connection")
	flags.DurationVar(&o.config.Timeout, "timeout", prober.DefaultTimeout, "timeout of a request")
	flags.DurationVar(&o.config.MaxDuration, "for", time.Minute, "how long to send requests")
	flags.StringVar(&o.picture, "svg", "", "SVG file to write with the shares over time")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if target.Host == "" {
		return o, errors.New("-host is missing; kubectl get isvc shows it in the URL column")
	}
	target.Body = []byte(*data)
	if file, is := strings.CutPrefix(*data, "@"); is {
		body, err := os.ReadFile(file)
		if err != nil {
			return o, err
		}
		target.Body = body
	}
	o.config.Targets = []prober.Target{target}
	return o, nil
}

func run(ctx context.Context, o options) error {
	p, err := prober.Start(ctx, o.config)
	if err != nil {
		return err
	}
	watch(p)
	results := p.Stop()
	all := results.All()
	fmt.Println("\n" + all.Summary().String())
	if o.picture != "" {
		if err := draw(o.picture, results); err != nil {
			return err
		}
	}
	if err := prober.NoErrors(all); err != nil {
		return fmt.Errorf("%w: %w", errFailed, err)
	}
	return nil
}

func watch(p *prober.Prober) {
	fmt.Printf("%8s %9s %7s %10s %10s  %s\n", "TIME", "REQUESTS", "ERRORS", "P50", "MAX", "SHARES")
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	done := p.Done()
	last := p.Mark("start")
	for {
		select {
		case <-done:
			return
		case <-seconds.C:
		}
		mark := p.Mark("")
		printLine(p.Results().Between(last, mark).Summary())
		last = mark
	}
}

func printLine(s prober.Summary) {
	var shares []string
	for _, revision := range s.Revisions() {
		shares = append(shares, fmt.Sprintf("%s %.0f %%", revision, 100*s.Share(revision)))
	}
	fmt.Printf("%7.0fs %9d %7d %8.1fms %8.1fms  %s\n", s.To.Seconds(), s.Requests, s.Failed(),
		float64(s.P50.Microseconds())/1000, float64(s.Max.Microseconds())/1000, strings.Join(shares, ", "))
}

func draw(file string, results prober.Results) error {
	results.Marks = nil // They mark every second, for the table only.
	svg, err := timeline.Of("Shares of revisions", "", results, time.Second).SVG()
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(svg), 0o644)
}
