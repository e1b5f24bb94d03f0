// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Bench measures the operator on a real API server, and fails if a limit is
// missed:
//
//	go run ./test/bench                          # 1,000 InferenceServices, then 5,000
//	go run ./test/bench -services=50 -grown=100 -rounds=1 -settle=10s
//	go run ./test/bench -update                  # writes docs/benchmark.md
//
// etcd and kube-apiserver are real. The operator runs in its own process with its ServiceAccount,
// its generated role and the default configuration. Fake controllers in this process act on its
// objects: they create pods that are ready immediately, and accept routes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/serinus-io/serinus/test/cluster/checkout"
)

type options struct {
	services int
	grown    int
	rounds   int
	pace     time.Duration
	settle   time.Duration
	resync   time.Duration
	update   bool
	dir      string
}

func main() {
	var o options
	flag.IntVar(&o.services, "services", 1000, "the number of InferenceServices in the first stage")
	flag.IntVar(&o.grown, "grown", 5000, "the number of InferenceServices in the second stage; 0 to skip it")
	flag.IntVar(&o.rounds, "rounds", 3, "how often to compare creation with a bare client; the report uses the median; 0 to skip it")
	flag.DurationVar(&o.pace, "pace", 200*time.Millisecond, "the time between two changes of a percent")
	flag.DurationVar(&o.settle, "settle", time.Minute, "how long to check that a settled operator writes nothing")
	flag.DurationVar(&o.resync, "resync", time.Minute, "controller.resyncPeriod for measuring resyncs, at least a minute; 0 to skip it")
	flag.BoolVar(&o.update, "update", false, "write docs/benchmark.md")
	flag.StringVar(&o.dir, "dir", "", "keep the logs and the audit log in this `folder`")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the program immediately.
	report, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if !report.passed() {
		fmt.Fprintln(os.Stderr, "bench: a limit was missed")
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (_ *report, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	root, err := checkout.Find(ctx)
	if err != nil {
		return nil, err
	}
	b, err := start(ctx, o, root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.measure(ctx); err != nil {
		return nil, errors.Join(err, b.operatorLogTail())
	}
	text := b.report.markdown()
	fmt.Println()
	fmt.Print(text)
	if o.update {
		path := root.Path("docs", "benchmark.md")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return b.report, nil
}

func (o options) check() error {
	switch {
	case o.services < 10:
		return fmt.Errorf("-services=%d: must be at least 10, because every tenth InferenceService is a canary", o.services)
	case o.grown != 0 && o.grown <= o.services:
		return fmt.Errorf("-grown=%d: must be more than -services=%d", o.grown, o.services)
	case o.rounds < 0:
		return fmt.Errorf("-rounds=%d: must not be negative", o.rounds)
	}
	return nil
}

func (b *bench) measure(ctx context.Context) error {
	if err := b.compareCreation(ctx); err != nil {
		return fmt.Errorf("comparing creation with a bare client: %w", err)
	}
	if err := b.launchOperator(ctx, nil); err != nil {
		return err
	}
	sizes := []int{b.options.services}
	if b.options.grown > 0 {
		sizes = append(sizes, b.options.grown)
	}
	for _, size := range sizes {
		if err := b.measureAt(ctx, size); err != nil {
			return fmt.Errorf("at %d InferenceServices: %w", size, err)
		}
	}
	return nil
}

type progress struct{ begin time.Time }

func (p *progress) logf(format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(p.begin).Seconds(), text)
}
