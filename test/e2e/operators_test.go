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

// Settings of the operator that differ from the defaults.
const (
	// drainPeriod is 60 s by default. Scenarios wait for the end of a revision.
	drainPeriod = 5 * time.Second
	// capacityHold is 5 min by default. Scenarios wait until the autoscaler scales again.
	capacityHold = 10 * time.Second
	// progressDeadline is 10 min by default. Scenarios wait until a revision fails.
	progressDeadline = 15 * time.Second
)

func singleOperator() []operator.Settings {
	return []operator.Settings{{"leaderElection": {"enabled": false}}}
}

func twoOperators() []operator.Settings {
	quick := operator.Settings{"leaderElection": {"leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "1s"}}
	return []operator.Settings{quick, quick}
}

// withDefaultMode returns settings for an operator with a default deployment mode. The documented
// manifests do not set the mode.
func withDefaultMode(m mode) operator.Settings {
	return operator.Settings{"": {"deploymentMode": string(m)}, "leaderElection": {"enabled": false}}
}

var commonSettings = operator.Settings{"rollout": {
	"drainPeriod": drainPeriod.String(), "capacityHold": capacityHold.String(), "progressDeadline": progressDeadline.String(),
}}

// operators are the running operators. launchCount numbers their logs.
var (
	operators   []*operator.Process
	launchCount int
)

func startOperators(ctx context.Context, settings []operator.Settings) {
	GinkgoHelper()
	Expect(operators).To(BeEmpty())
	for _, each := range settings {
		operators = append(operators, launchOperator(ctx, each))
	}
}

func launchOperator(ctx context.Context, settings operator.Settings) *operator.Process {
	GinkgoHelper()
	launchCount++
	settings = maps.Clone(settings)
	maps.Copy(settings, commonSettings)
	started, err := operator.Launch(ctx, cluster, root, fmt.Sprintf("operator-%d", launchCount), settings)
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

func restartOperators(ctx context.Context, settings []operator.Settings) {
	GinkgoHelper()
	stopOperators(ctx)
	DeferCleanup(func(ctx SpecContext) {
		stopOperators(ctx)
		startOperators(ctx, singleOperator())
	})
	startOperators(ctx, settings)
}
