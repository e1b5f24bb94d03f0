// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backendtest

import (
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Moment is an observation with the intent at the same time.
type Moment struct {
	*backend.Observation
	Session  backend.Session
	Snapshot rollout.Snapshot
}

// At returns the moment of a session with the given target.
func At(session backend.Session, isvc *v1beta1.InferenceService, mode v1beta1.DeploymentMode, target intent.Target) Moment {
	observed := session.Observation()
	return Moment{observed, session, intent.Snapshot(isvc, mode, observed, target, intent.Automation{})}
}

// Change returns what a decision writes, without a new revision.
func (m Moment) Change(decision rollout.Decision) backend.Change {
	return backend.Change{Decision: decision, Replicas: m.Snapshot.Desired.Replicas}
}
