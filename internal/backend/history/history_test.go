// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"testing"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

// TestModeFromHistory: an InferenceService that is restored from a backup has only its history.
func TestModeFromHistory(t *testing.T) {
	history := History{Revisions: map[rollout.Number]backend.RenderedRevision{1: {Mode: v1beta1.DeploymentModeKnative}, 2: {}}}
	if got := history.Mode(); got != v1beta1.DeploymentModeKnative {
		t.Errorf("it is %q", got)
	}
	if got := (History{}).Mode(); got != "" {
		t.Errorf("of no history it is %q", got)
	}
}
