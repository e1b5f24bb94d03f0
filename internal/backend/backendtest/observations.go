// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backendtest

import (
	"strings"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

func observesWanted(p *play) {
	wanted := func() rollout.Wanted {
		p.t.Helper()
		observed, err := p.Backend().Observe(p.t.Context(), p.isvc())
		if err != nil {
			p.t.Fatal(err)
		}
		return observed.Rollout.Wanted
	}
	p.apply("v1", promote)
	if got := wanted(); got.Percent != nil || got.Stopped || got.Tagged || got.Inputs != "" {
		p.t.Errorf("of a plain spec it observes %+v", got)
	}
	p.apply("v1", 0)
	if got := wanted(); got.Percent == nil || *got.Percent != 0 {
		p.t.Errorf("of a percent of 0 it observes %v", got.Percent)
	}
	p.edit(func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.MinReplicas, isvc.Spec.Predictor.MaxReplicas = new(int32(2)), 5
	})
	if got := wanted().Replicas; got.Min != 2 || got.Max != 5 {
		p.t.Errorf("of 2 to 5 replicas it observes %+v", got)
	}
	for annotation, get := range map[string]func(rollout.Wanted) bool{
		v1beta1.AnnotationStop:             func(w rollout.Wanted) bool { return w.Stopped },
		v1beta1.AnnotationEnableTagRouting: func(w rollout.Wanted) bool { return w.Tagged },
	} {
		p.edit(annotate(annotation, "true"))
		if !get(wanted()) {
			p.t.Errorf("it does not observe %s", annotation)
		}
		p.edit(annotate(annotation, "maybe")) // Nothing is there yet that it could stay as.
		if get(wanted()) {
			p.t.Errorf("it takes a malformed %s for true", annotation)
		}
		p.edit(func(isvc *v1beta1.InferenceService) { delete(isvc.Annotations, annotation) })
	}
}

func observesReported(p *play) {
	p.rollOut("v1", promote)
	p.rollOut("v2", promote)
	p.rollOut("v2", 30)
	name := func(n rollout.Number) string { return backend.RevisionName(p.InferenceService().Name, n) }
	split, err := rollout.NewSplit(rollout.Share{Revision: 2, Percent: 30}, rollout.Share{Revision: 1, Percent: 70})
	if err != nil {
		p.t.Fatal(err)
	}
	p.reported.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: {
		LatestCreatedRevision: name(2), LatestRolledoutRevision: name(1), PreviousRolledoutRevision: name(3), Traffic: trafficOf(split, name),
	}}
	got := p.observe().Rollout.Reported
	if got.Target != 2 || got.Stable != 1 || got.Previous != 3 || !got.Split.Equal(split) {
		p.t.Errorf("it observes %+v", got)
	}

	p.reported.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: {
		LatestCreatedRevision: "somebody-else", Traffic: trafficOf(split, func(rollout.Number) string { return "somebody-else" }),
	}}
	if got := p.observe().Rollout.Reported; got.Target != 0 || !got.Split.IsEmpty() {
		p.t.Errorf("of what it never reported it observes %+v", got)
	}

	p.reported = v1beta1.InferenceServiceStatus{}
	p.settle()
	p.wantSplit(2, 30, 1, 70) // A wiped status moves nothing.
}

func observesWorkloads(p *play) {
	p.SetBroken(1, true)
	p.rollOut("v1", promote)
	observed := p.observe()
	if got := observed.Rollout.Revisions[0].Workload; got == nil || got.Ready != 0 {
		p.t.Errorf("of what loads it observes %+v", got)
	}
	if state := observed.Revisions[1].State; state == v1beta1.Loaded || state == "" {
		p.t.Errorf("what loads is %q", state)
	}

	p.SetBroken(1, false)
	p.settle()
	observed = p.observe()
	if got := observed.Rollout.Revisions[0].Workload; got == nil || got.Ready < 1 || got.Failed || !got.IdleSince.IsZero() {
		p.t.Errorf("of what serves it observes %+v", got)
	}
	if got := observed.Revisions[1]; got.State != v1beta1.Loaded || got.Failure != nil || got.Pods < 1 {
		p.t.Errorf("what serves is %+v", got)
	}
	if !observed.Route.Exists || observed.Route.Refused {
		p.t.Errorf("its route is %+v", observed.Route)
	}

	p.apply("v2", promote)
	observed, _, reached := p.passUntil(1, rollout.ScaleDown)
	if !reached {
		return
	}
	for _, revision := range observed.Rollout.Revisions {
		if revision.Number == 1 && (revision.Workload == nil || revision.Workload.IdleSince.IsZero()) {
			p.t.Errorf("of what has drained it observes %+v", revision.Workload)
		}
	}
}

func observesAddresses(p *play) {
	p.edit(annotate(v1beta1.AnnotationEnableTagRouting, "true"))
	p.rollOut("v1", promote)
	p.rollOut("v2", 10)
	addresses := p.observe().Addresses
	isvc := p.InferenceService()
	for what, url := range map[string]string{"itself": addresses.URL, "its predictor": addresses.Predictor, "a tag": addresses.Tag(v1beta1.TagLatest)} {
		if !strings.HasPrefix(url, "http") || !strings.Contains(url, isvc.Name) || !strings.Contains(url, isvc.Namespace) {
			p.t.Errorf("the URL of %s is %q", what, url)
		}
	}
	if latest := addresses.Tag(v1beta1.TagLatest); latest == addresses.Tag(v1beta1.TagPrevious) {
		p.t.Errorf("both tags have the URL %q", latest)
	}
}
