// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"context"
	"fmt"
	"maps"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/serinus-io/serinus/test/cluster/operator"
)

// How the operator is set in the stories, where it is not as shipped.
const (
	// drainPeriod is shorter than the default of 60 seconds, so that a story sees the end of a revision.
	drainPeriod = 5 * time.Second
	// capacityHold is shorter than the default of 5 minutes, so that a story sees the autoscaler take over again.
	capacityHold = 10 * time.Second
	// progressDeadline is shorter than the default of 10 minutes, so that a story sees a revision fail.
	progressDeadline = 15 * time.Second
)

// one is an operator that need not be elected.
func one() []operator.Settings {
	return []operator.Settings{{"leaderElection": {"enabled": false}}}
}

// pair are two operators, of which one is elected: sooner than by default.
func pair() []operator.Settings {
	quick := operator.Settings{"leaderElection": {"leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "1s"}}
	return []operator.Settings{quick, quick}
}

// byDefault is an operator that runs in a mode what says nothing of it, as the manifests of the document do not.
func byDefault(m mode) operator.Settings {
	return operator.Settings{"": {"deploymentMode": string(m)}, "leaderElection": {"enabled": false}}
}

// everywhere is how all operators of the stories are set.
var everywhere = operator.Settings{"rollout": {
	"drainPeriod": drainPeriod.String(), "capacityHold": capacityHold.String(), "progressDeadline": progressDeadline.String(),
}}

// operators are those that run, and launched is how many ever did: each has a log of its own.
var (
	operators []*operator.Process
	launched  int
)

func startOperators(ctx context.Context, settings []operator.Settings) {
	GinkgoHelper()
	Expect(operators).To(BeEmpty())
	for _, own := range settings {
		operators = append(operators, launch(ctx, own))
	}
}

func launch(ctx context.Context, settings operator.Settings) *operator.Process {
	GinkgoHelper()
	launched++
	settings = maps.Clone(settings)
	maps.Copy(settings, everywhere)
	started, err := operator.Launch(ctx, cluster, root, fmt.Sprintf("operator-%d", launched), settings)
	Expect(err).NotTo(HaveOccurred())
	return started
}

func stopOperators(ctx context.Context) {
	GinkgoHelper()
	for _, running := range operators {
		Expect(running.Stop(ctx)).To(Succeed())
	}
	operators = nil
}

// restartOperators has others run until the story has ended.
func restartOperators(ctx context.Context, settings []operator.Settings) {
	GinkgoHelper()
	stopOperators(ctx)
	DeferCleanup(func(ctx SpecContext) {
		stopOperators(ctx)
		startOperators(ctx, one())
	})
	startOperators(ctx, settings)
}
