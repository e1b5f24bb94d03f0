// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// TestRejection: an annotation that is no rejection counts as none.
func TestRejection(t *testing.T) {
	const valid = `{"attempt":2,"reason":"Harm","at":"2026-11-23T08:00:00Z"}`
	for text, want := range map[string]*rollout.Rejection{
		valid:                            {Attempt: 2, Reason: rollout.Harmful, At: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)},
		"":                               nil,
		"{":                              nil,
		"null":                           nil,
		`{"attempt":0,"reason":"Harm"}`:  nil,
		`{"attempt":-1,"reason":"Harm"}`: nil,
	} {
		stored := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{AnnotationRejection: text}}}
		history := History{ControllerRevisions: map[rollout.Number]*appsv1.ControllerRevision{2: stored}}
		if diff := cmp.Diff(want, history.Rejection(2)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		if got := history.Rejection(1); got != nil {
			t.Errorf("revision 1 is rejected: %+v", got)
		}
	}
}

// TestDesiredRejection: without a rollout state, the recorded rejection stays.
func TestDesiredRejection(t *testing.T) {
	stored := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{AnnotationRejection: `{"attempt":1,"reason":"Harm","at":"2026-11-23T08:00:00Z"}`}}}
	history := History{ControllerRevisions: map[rollout.Number]*appsv1.ControllerRevision{2: stored}}
	another := rollout.Rejection{Attempt: 2, Reason: rollout.Aborted}
	for name, test := range map[string]struct {
		state *rollout.State
		want  *rollout.Rejection
	}{
		"no rollout state": {nil, history.Rejection(2)},
		"forgiven":         {&rollout.State{}, nil},
		"another":          {&rollout.State{Rejected: map[rollout.Number]rollout.Rejection{2: another}}, &another},
	} {
		if diff := cmp.Diff(test.want, Writer{History: history, State: test.state}.rejection(2)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
