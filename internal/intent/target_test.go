// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"testing"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// wants returns a resolved spec. Its inputs name the settings, the model and the runtime.
func wants(settings, model, runtime string) *predictor.Resolved {
	return &predictor.Resolved{Hash: settings + "/" + model + "/" + runtime, Identity: identity(model, runtime)}
}

func identity(model, runtime string) predictor.Identity {
	return predictor.Identity{Predictor: model, Runtime: runtime}
}

// withoutRuntime returns a resolved spec whose serving runtime is missing or disabled.
func withoutRuntime(model string, labels ...string) *predictor.Resolved {
	wanted := &predictor.Resolved{Identity: identity(model, ""), RuntimeMissing: true}
	for _, label := range labels {
		wanted.Identity.Labels.Inherited = map[string]string{label: "0123456789abcdef"}
	}
	return wanted
}

func naming(runtime string, wanted *predictor.Resolved) *predictor.Resolved {
	wanted.Identity.RequestedRuntime = runtime
	return wanted
}

func add(o *backend.Observation, n rollout.Number, model string) {
	o.Revisions = append(o.Revisions, rollout.Revision{Number: n, Hash: "older/" + model + "/" + string(rune('0'+n)), InHistory: true})
	o.History[n] = recorded(model, "r1")
}

func recorded(model, runtime string) backend.HistoryEntry {
	return backend.HistoryEntry{Identity: identity(model, runtime), Runtime: predictor.RuntimeRef{Kind: predictor.ServingRuntimeKind, Name: runtime}}
}

// seen returns revision 1 of model a and revision 2 of model b. Both were created under older
// settings, and b is the last target.
func seen() *backend.Observation {
	return &backend.Observation{
		Revisions: []rollout.Revision{
			{Number: 1, Hash: "older/a/r1", InHistory: true},
			{Number: 2, Hash: "older/b/r1", InHistory: true},
		},
		Route:   rollout.Route{State: &rollout.State{Stable: 1, Target: 2, Highest: 2}},
		History: map[rollout.Number]backend.HistoryEntry{1: recorded("a", "r1"), 2: recorded("b", "r1")},
	}
}

func TestFindTarget(t *testing.T) {
	for name, test := range map[string]struct {
		wanted      *predictor.Resolved
		keepRuntime bool
		given       func(*backend.Observation)
		spec        []testkit.Edit
		// want is the existing revision that the spec asks for. It is 0 for a new revision or none.
		want rollout.Number
		// wantHash is the target's hash if it is no existing revision.
		wantHash string
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
		"a new model":                {wanted: wants("newer", "c", "r1"), wantHash: "newer/c/r1"},
		"the model, a newer runtime": {wanted: wants("older", "b", "r2"), wantHash: "older/b/r2"},
		"the model, a newer runtime that must not be taken": {
			wanted: wants("older", "b", "r2"), keepRuntime: true, want: 2,
		},
		"the model, whose runtime is gone and was to be kept": {
			wanted: &predictor.Resolved{Identity: identity("b", "")}, keepRuntime: true, want: 2,
		},
		"the model, whose runtime does not serve it any more": {wanted: &predictor.Resolved{Identity: identity("b", "")}},
		"the model, whose runtime does not serve it any more, and percent 0": {
			wanted: &predictor.Resolved{Identity: identity("b", "")}, want: 2,
			spec: []testkit.Edit{testkit.Percent(0)},
		},
		"the model, whose runtime does not serve it any more, and percent 10": {
			wanted: &predictor.Resolved{Identity: identity("b", "")},
			spec:   []testkit.Edit{testkit.Percent(10)},
		},
		"the model of the target, whose runtime is gone":         {wanted: withoutRuntime("b"), want: 2},
		"the model of the stable, whose runtime is gone":         {wanted: withoutRuntime("a"), want: 1},
		"a new model, whose runtime is gone":                     {wanted: withoutRuntime("c")},
		"the model in other metadata, whose runtime is gone":     {wanted: withoutRuntime("b", "team")},
		"a model that names its runtime, which is gone":          {wanted: naming("r1", withoutRuntime("b")), want: 2},
		"a model that names another runtime, which is not there": {wanted: naming("r9", withoutRuntime("b"))},
		"a model that two revisions have, whose runtime is gone: the stable": {
			wanted: withoutRuntime("a"), want: 1,
			given: func(o *backend.Observation) { add(o, 3, "a") },
		},
		"a model that two revisions have, whose runtime is gone: the previous": {
			wanted: withoutRuntime("c"), want: 3,
			given: func(o *backend.Observation) {
				add(o, 3, "c")
				add(o, 4, "c")
				o.Route.State.Previous = 3
			},
		},
		"a model that two revisions have, whose runtime is gone: the newest": {
			wanted: withoutRuntime("c"), want: 4,
			given: func(o *backend.Observation) {
				add(o, 3, "c")
				add(o, 4, "c")
			},
		},
		"an older model with a newer runtime, while the runtime of the newer one is kept": {
			wanted: wants("older", "a", "r2"), keepRuntime: true, wantHash: "older/a/r2",
		},
		"a runtime is kept, and the last target is only reported": {
			wanted: wants("older", "b", "r2"), keepRuntime: true, want: 2,
			given: func(o *backend.Observation) { o.Route.State = nil },
			spec: []testkit.Edit{func(isvc *v1beta1.InferenceService) {
				isvc.Status.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{
					v1beta1.PredictorComponent: {LatestCreatedRevision: "sklearn-iris-predictor-00002"},
				}
			}},
		},
		"a runtime is to be kept, and the last target is unknown": {
			wanted: wants("older", "b", "r2"), keepRuntime: true, wantHash: "older/b/r2",
			given: func(o *backend.Observation) { o.Route.State = nil },
		},
		"a runtime is to be kept, and the last target is lost": {
			wanted: wants("older", "b", "r2"), keepRuntime: true, wantHash: "older/b/r2",
			given: func(o *backend.Observation) { o.Revisions = o.Revisions[:1] },
		},
		"a revision without a record counts by its inputs": {
			wanted: wants("older", "b", "r1"), want: 2,
			given: func(o *backend.Observation) { delete(o.History, 2) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			observed := seen()
			if test.given != nil {
				test.given(observed)
			}
			isvc := testkit.NewInferenceService(test.spec...)
			if test.keepRuntime {
				testkit.Annotation(v1beta1.AnnotationDisableAutoUpdate, "true")(isvc)
			}
			target := FindTarget(isvc, observed, test.wanted)
			snapshot := Snapshot(isvc, standard, observed, target)
			var got rollout.Number
			for _, revision := range snapshot.Revisions {
				if target.Hash != "" && revision.Hash == target.Hash {
					got = revision.Number
				}
			}
			if got != test.want || target.Exists(observed.Revisions) != (got != 0) {
				t.Errorf("it asks for revision %d (%q), want %d", got, target.Hash, test.want)
			}
			if test.want == 0 && target.Hash != test.wantHash {
				t.Errorf("it asks for %q, want %q", target.Hash, test.wantHash)
			}
		})
	}
}

func TestRuntimeToKeep(t *testing.T) {
	labelled := func(wanted *predictor.Resolved) *predictor.Resolved {
		wanted.Identity.Labels.Inherited = map[string]string{"team": "0123456789abcdef"}
		return wanted
	}
	scaled := func(wanted *predictor.Resolved) *predictor.Resolved {
		wanted.Identity.Scaling = "0123456789abcdef"
		return wanted
	}
	for name, test := range map[string]struct {
		wanted *predictor.Resolved
		given  func(*backend.Observation)
		want   string
	}{
		"the same spec":                    {wanted: wants("older", "b", "r9"), want: "r1"},
		"the spec of another revision":     {wanted: wants("older", "a", "r9"), want: "r1"},
		"other labels":                     {wanted: labelled(wants("older", "b", "r9")), want: "r1"},
		"other scaling, in Knative mode":   {wanted: scaled(wants("older", "b", "r9")), want: "r1"},
		"another model":                    {wanted: wants("older", "c", "r9")},
		"it names the runtime that it has": {wanted: naming("r1", wants("older", "b", "r1")), want: "r1"},
		"it names another runtime":         {wanted: naming("r9", wants("older", "b", "r9"))},
		"two revisions have the model: the very spec comes before other labels": {
			wanted: labelled(wants("older", "c", "r9")), want: "r3",
			given: func(o *backend.Observation) {
				add(o, 3, "c")
				o.History[3] = backend.HistoryEntry{Identity: labelled(wants("older", "c", "r3")).Identity, Runtime: predictor.RuntimeRef{Name: "r3"}}
				add(o, 4, "c")
				o.Route.State.Target = 4
			},
		},
		"two revisions have the model: the last target": {
			wanted: wants("older", "b", "r9"), want: "r1",
			given: func(o *backend.Observation) {
				add(o, 3, "b")
				o.History[3] = recorded("b", "r3")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			observed := seen()
			if test.given != nil {
				test.given(observed)
			}
			if got, found := RuntimeToKeep(testkit.NewInferenceService(), observed, test.wanted); got.Name != test.want || found != (test.want != "") {
				t.Errorf("it keeps %q (%t), want %q", got.Name, found, test.want)
			}
		})
	}
}
