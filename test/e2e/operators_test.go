// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/serinus-io/serinus/test/cluster/local"
	"github.com/serinus-io/serinus/test/cluster/operator"
)

// How the operator is set in the stories, where it is not as shipped.
const (
	// drainPeriod is shorter than the default of 30 seconds, so that a story sees the end of a revision.
	drainPeriod = 5 * time.Second
	// capacityHold is shorter than the default of 5 minutes, so that a story sees the autoscaler take over again.
	capacityHold = 10 * time.Second
	// progressDeadline is shorter than the default of 10 minutes, so that a story sees a revision fail.
	progressDeadline = 15 * time.Second
)

// one is an operator that need not be elected.
var one = []operator.Settings{rolloutSettings(operator.Settings{"leaderElection": {"enabled": false}})}

// pair are two operators, of which one is elected: sooner than by default.
var pair = []operator.Settings{rolloutSettings(quickElection()), rolloutSettings(quickElection())}

func quickElection() operator.Settings {
	return operator.Settings{"leaderElection": {"leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "1s"}}
}

func rolloutSettings(others operator.Settings) operator.Settings {
	others["rollout"] = map[string]any{
		"drainPeriod": drainPeriod.String(), "capacityHold": capacityHold.String(), "progressDeadline": progressDeadline.String(),
	}
	return others
}

// operators are those that run, and launched is how many ever did: each has a log of its own.
var (
	operators []*local.Process
	launched  int
)

func startOperators(ctx context.Context, settings []operator.Settings) {
	GinkgoHelper()
	Expect(operators).To(BeEmpty())
	for _, own := range settings {
		operators = append(operators, launch(ctx, own))
	}
}

func launch(ctx context.Context, settings operator.Settings) *local.Process {
	GinkgoHelper()
	launched++
	started, err := operator.LaunchAs(ctx, cluster, root, fmt.Sprintf("operator-%d", launched), settings)
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
