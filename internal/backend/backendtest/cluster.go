// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backendtest

import (
	"context"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Backend is the backend under test, in the form that the controller uses.
type Backend interface {
	Observe(ctx context.Context, isvc *v1beta1.InferenceService) (backend.Session, error)
}

// Cluster is a backend in a cluster with exactly one InferenceService. Its methods fail the test on
// errors.
type Cluster interface {
	// Backend returns the backend under test. Its reads show all previous writes.
	Backend() Backend
	// InferenceService returns the current InferenceService.
	InferenceService() *v1beta1.InferenceService
	// Update updates the spec, labels or annotations, as a user does.
	Update(isvc *v1beta1.InferenceService)

	// Settings returns the settings for rendering the backend's revisions.
	Settings() predictor.Settings

	// CatchUp makes the other controllers react to the writes: pods start and stop, and the gateway
	// accepts the routes. It reports whether anything changed.
	CatchUp() bool
	// SetFailing sets whether the pods of a revision fail to become ready.
	SetFailing(n rollout.Number, failing bool)
	// SetUnresponsive sets whether the gateway is unresponsive and accepts nothing.
	SetUnresponsive(unresponsive bool)
	// Instances returns identifiers of the pods of a revision.
	Instances(n rollout.Number) []string

	// Writes returns how many writes the backend has made or tried.
	Writes() int
	// FailWrite makes one of the next writes fail, by its number from 1; 0 makes none fail.
	FailWrite(number int, err error)

	// LoseWorkload removes a revision's workload at once, but not its ControllerRevision.
	LoseWorkload(n rollout.Number)
	// LoseRoute removes the object that splits the traffic, with the rollout state.
	LoseRoute()
	// TouchRoute changes the object that splits the traffic, but not the split.
	TouchRoute()
	// SetRolloutState replaces the rollout state.
	SetRolloutState(text string)
	// StealRevision gives an object of a revision another owner. StealRoute does so for the object
	// that splits the traffic. The returned functions restore the owner.
	StealRevision(n rollout.Number) (giveBack func())
	StealRoute() (giveBack func())
}
