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

// Backend is what the contract is about, as the controller uses it.
type Backend interface {
	Observe(ctx context.Context, isvc *v1beta1.InferenceService) (backend.Session, error)
}

// Cluster is a backend in a cluster of its own, which holds one InferenceService and nothing else. Its hands fail the
// test where they cannot do what they are asked.
type Cluster interface {
	// Backend is the one under test. What it reads shows all that was written before.
	Backend() Backend
	// InferenceService is the one that the cluster holds, as it is now.
	InferenceService() *v1beta1.InferenceService
	// Update stores it with another spec, labels or annotations, as a user does.
	Update(isvc *v1beta1.InferenceService)

	// Settings are those that the backend's revisions are rendered with.
	Settings() predictor.Settings

	// CatchUp has the rest of the cluster do what it has to do about what was written: pods start and stop, and the
	// gateway takes the routes over. It tells whether there was anything to do.
	CatchUp() bool
	// SetBroken keeps the pods of a revision from being ready, or no longer does.
	SetBroken(n rollout.Number, broken bool)
	// SetDeaf keeps the gateway from taking anything over, or no longer does.
	SetDeaf(deaf bool)
	// Instances identifies the pods of a revision.
	Instances(n rollout.Number) []string

	// Writes counts what the backend has written, or tried to.
	Writes() int
	// FailWrite has the write of that number, counted from now and from 1, fail with an error; 0 has none fail.
	FailWrite(number int, err error)

	// LoseWorkload removes what a revision runs, at once, but not its record.
	LoseWorkload(n rollout.Number)
	// LoseRoute removes what splits the traffic, and with it the rollout record.
	LoseRoute()
	// TouchRoute changes what splits the traffic, without changing how.
	TouchRoute()
	// SetRecord has somebody write another rollout record.
	SetRecord(text string)
	// StealRevision makes an object of a revision, and StealRoute what splits the traffic, somebody else's; what they
	// return gives it back.
	StealRevision(n rollout.Number) (giveBack func())
	StealRoute() (giveBack func())
}
