// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backendtest

import (
	"strings"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

func statusIsWiped(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", promote)
	p.rollOut("v2", 30)
	p.reported = v1beta1.InferenceServiceStatus{}
	p.settle()
	p.wantSplit(2, 30, 1, 70)
}

func observesWorkloads(p *driver) {
	p.SetFailing(1, true)
	p.rollOut("v1", promote)
	observed := p.observe()
	if got := observed.Revisions[0].Workloads[rollout.Predictor]; got == nil || got.Ready != 0 {
		p.t.Errorf("of what loads it observes %+v", got)
	}
	if state := observed.Details[1].State; state == v1beta1.Loaded || state == "" {
		p.t.Errorf("what loads is %q", state)
	}

	p.SetFailing(1, false)
	p.settle()
	observed = p.observe()
	if got := observed.Revisions[0].Workloads[rollout.Predictor]; got == nil || got.Ready < 1 || got.Failed || !got.IdleSince.IsZero() {
		p.t.Errorf("of what serves it observes %+v", got)
	}
	if got := observed.Details[1]; got.State != v1beta1.Loaded || got.Failure != nil || got.Pods < 1 {
		p.t.Errorf("what serves is %+v", got)
	}
	if !observed.RouteStatus.Exists || observed.RouteStatus.Refused {
		p.t.Errorf("its route is %+v", observed.RouteStatus)
	}

	p.apply("v2", promote)
	observed, _, reached := p.reconcileUntil(1, rollout.ScaleDown)
	if !reached {
		return
	}
	for _, revision := range observed.Revisions {
		if revision.Number == 1 && (revision.Workloads[rollout.Predictor] == nil || revision.Workloads[rollout.Predictor].IdleSince.IsZero()) {
			p.t.Errorf("of what has drained it observes %+v", revision.Workloads[rollout.Predictor])
		}
	}
}

func observesAddresses(p *driver) {
	p.edit(testkit.Annotation(v1beta1.AnnotationEnableTagRouting, "true"))
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
