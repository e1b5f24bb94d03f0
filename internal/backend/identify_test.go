// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"testing"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

// wants is a resolved spec. The digests of its inputs are the settings under which they were taken, with the model.
func wants(settings, model, runtime string) *predictor.Resolved {
	return &predictor.Resolved{Inputs: settings + "/" + model + "/" + runtime, Identity: identity(model, runtime)}
}

func identity(model, runtime string) predictor.Identity {
	return predictor.Identity{Predictor: model, Runtime: runtime}
}

// seen has revision 1 of model a and revision 2 of model b, made under older settings; b was asked for last.
func seen() *backend.Observation {
	return &backend.Observation{
		Rollout: rollout.Snapshot{
			Revisions: []rollout.Revision{
				{Number: 1, Inputs: "older/a/r1", Recorded: true},
				{Number: 2, Inputs: "older/b/r1", Recorded: true},
			},
			Route: rollout.Route{Record: &rollout.Record{Stable: 1, Target: 2, Highest: 2}},
		},
		Recorded: map[rollout.Number]backend.Recorded{1: {Identity: identity("a", "r1")}, 2: {Identity: identity("b", "r1")}},
	}
}

func TestIdentify(t *testing.T) {
	for name, test := range map[string]struct {
		wanted      *predictor.Resolved
		keepRuntime bool
		given       func(*backend.Observation)
		// want is the revision that is then asked for; 0 for a new one or none.
		want rollout.Number
		// wantInputs are what is asked for where that is no revision that there is.
		wantInputs string
	}{
		"the spec cannot be resolved at all": {},
		"the model of the target":            {wanted: wants("older", "b", "r1"), want: 2},
		"the model of another revision":      {wanted: wants("older", "a", "r1"), want: 1},
		"the model of the target, under newer settings": {
			wanted: wants("newer", "b", "r1"), want: 2,
		},
		"the model of another revision, under newer settings": {
			wanted: wants("newer", "a", "r1"), want: 1,
		},
		"a new model":                {wanted: wants("newer", "c", "r1"), wantInputs: "newer/c/r1"},
		"the model, a newer runtime": {wanted: wants("older", "b", "r2"), wantInputs: "older/b/r2"},
		"the model, a newer runtime that must not be taken": {
			wanted: wants("older", "b", "r2"), keepRuntime: true, want: 2,
		},
		"the model, whose runtime is gone and was to be kept": {
			wanted: &predictor.Resolved{Identity: identity("b", "")}, keepRuntime: true, want: 2,
		},
		"the model, whose runtime is gone": {wanted: &predictor.Resolved{Identity: identity("b", "")}},
		"an older model with a newer runtime, while the runtime of the newer one is kept": {
			wanted: wants("older", "a", "r2"), keepRuntime: true, wantInputs: "older/a/r2",
		},
		"a runtime is kept, and the last target is only reported": {
			wanted: wants("older", "b", "r2"), keepRuntime: true, want: 2,
			given: func(o *backend.Observation) { o.Rollout.Route.Record, o.Rollout.Reported.Target = nil, 2 },
		},
		"a runtime is to be kept, and nobody knows the last target": {
			wanted: wants("older", "b", "r2"), keepRuntime: true, wantInputs: "older/b/r2",
			given: func(o *backend.Observation) { o.Rollout.Route.Record = nil },
		},
		"a runtime is to be kept, and the last target is lost": {
			wanted: wants("older", "b", "r2"), keepRuntime: true, wantInputs: "older/b/r2",
			given: func(o *backend.Observation) { o.Rollout.Revisions = o.Rollout.Revisions[:1] },
		},
		"a revision without a record counts by its inputs": {
			wanted: wants("older", "b", "r1"), want: 2,
			given: func(o *backend.Observation) { delete(o.Recorded, 2) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			observed := seen()
			if test.given != nil {
				test.given(observed)
			}
			observed.Identify(test.wanted, test.keepRuntime)
			var got rollout.Number
			for _, revision := range observed.Rollout.Revisions {
				if observed.Rollout.Wanted.Inputs != "" && revision.Inputs == observed.Rollout.Wanted.Inputs {
					got = revision.Number
				}
			}
			if got != test.want {
				t.Errorf("it asks for revision %d (%q), want %d", got, observed.Rollout.Wanted.Inputs, test.want)
			}
			if test.want == 0 && observed.Rollout.Wanted.Inputs != test.wantInputs {
				t.Errorf("it asks for %q, want %q", observed.Rollout.Wanted.Inputs, test.wantInputs)
			}
		})
	}
}
