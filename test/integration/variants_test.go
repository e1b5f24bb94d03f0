// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/serinus-io/serinus/test/integration/wire"
)

// variant is one of many similar scenarios in one spec. Each has its own namespace.
type variant struct {
	name    string
	options []configOption
	body    func(*scenario)
}

// concurrency is the number of variants that run at the same time. They mostly wait.
const concurrency = 8

// runAll runs all variants. A failed variant is reported by name with the recorded changes of its
// namespace.
func runAll(ctx SpecContext, variants []variant) {
	GinkgoHelper()
	runConcurrently(ctx, variants, concurrency)
}

func runConcurrently(ctx SpecContext, variants []variant, concurrency int) {
	GinkgoHelper()
	// Poll less often, because the machine is busy with the other variants.
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	DeferCleanup(SetDefaultEventuallyTimeout, eventuallyTimeout)
	DeferCleanup(SetDefaultEventuallyPollingInterval, pollingInterval)
	// A spec reports only its first failure. Print the others here.
	RegisterFailHandler(func(message string, skip ...int) {
		GinkgoWriter.Println("FAILURE:", message)
		Fail(message, append(skip, 1)[0]+1)
	})
	DeferCleanup(func() { RegisterFailHandler(Fail) })
	free := make(chan struct{}, concurrency)
	var wg sync.WaitGroup
	for _, v := range variants {
		free <- struct{}{}
		wg.Go(func() {
			defer GinkgoRecover()
			defer func() { <-free }()
			v.run(ctx)
		})
	}
	wg.Wait()
}

func (v variant) run(ctx SpecContext) {
	var cleanups []func(SpecContext)
	defer func() {
		for _, do := range cleanups {
			defer do(ctx) //nolint:gocritic // All at the end: the last first, and each even if another one fails.
		}
	}()
	s := newScenario(ctx, newNamespace(ctx), func(do func(SpecContext)) { cleanups = append(cleanups, do) })
	for _, option := range v.options {
		option(s.config)
	}
	succeeded := false
	defer func() {
		if !succeeded {
			AddReportEntry(v.name, s.recorder.Trace(), ReportEntryVisibilityFailureOrVerbose)
		}
	}()
	s.startOperator(wire.New())
	v.body(s)
	succeeded = true
}
