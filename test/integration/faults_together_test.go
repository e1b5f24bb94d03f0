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

// trial is one of many stories that differ in little, each with a namespace of its own.
type trial struct {
	name    string
	options []option
	tell    func(*story)
}

// atOnce is how many trials are told at the same time. They wait more than they work.
const atOnce = 8

// together tells all trials. Each that fails is reported under its name, with what has happened in it.
func together(ctx SpecContext, trials []trial) {
	GinkgoHelper()
	tell(ctx, trials, atOnce)
}

func tell(ctx SpecContext, trials []trial, atOnce int) {
	GinkgoHelper()
	// The machine is busy with the others, and shall not be with looking whether they are ready.
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	DeferCleanup(SetDefaultEventuallyTimeout, patience)
	DeferCleanup(SetDefaultEventuallyPollingInterval, pollingInterval)
	// A spec reports its first failure only; here each trial may have one.
	RegisterFailHandler(func(message string, skip ...int) {
		GinkgoWriter.Println("FAILURE:", message)
		Fail(message, append(skip, 1)[0]+1)
	})
	DeferCleanup(func() { RegisterFailHandler(Fail) })
	free := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, one := range trials {
		free <- struct{}{}
		all.Go(func() {
			defer GinkgoRecover()
			defer func() { <-free }()
			one.run(ctx)
		})
	}
	all.Wait()
}

func (t trial) run(ctx SpecContext) {
	var afterwards []func(SpecContext)
	defer func() {
		for _, do := range afterwards {
			defer do(ctx) //nolint:gocritic // All at the end: the last first, and each even if another one fails.
		}
	}()
	s := stage(ctx, newNamespace(ctx), func(do func(SpecContext)) { afterwards = append(afterwards, do) })
	for _, option := range t.options {
		option(s.config)
	}
	told := false
	defer func() {
		if !told {
			AddReportEntry(t.name, s.journal.Trace(), ReportEntryVisibilityFailureOrVerbose)
		}
	}()
	s.start(wire.New())
	t.tell(s)
	told = true
}
