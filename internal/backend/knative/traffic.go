// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"cmp"
	"slices"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

// traffic is what a Knative Service says of who gets what, by revisions of ours.
type traffic []target

type target struct {
	revision rollout.Number
	percent  int
	tag      string
}

// readTraffic reads what the spec of a Knative Service says. Where it does not name revisions, as KServe's does not, it
// is what Knative says that it has made of it. Before Knative has served anything, nobody gets anything.
func readTraffic(isvc *v1beta1.InferenceService, service *servingv1.Service) traffic {
	if len(service.Status.Traffic) == 0 {
		return nil
	}
	spec := service.Spec.Traffic
	if slices.ContainsFunc(spec, func(t servingv1.TrafficTarget) bool { return t.RevisionName == "" }) {
		spec = service.Status.Traffic
	}
	var read traffic
	for _, t := range spec {
		read = append(read, target{revision: backend.RevisionNumber(isvc.Name, t.RevisionName), percent: percentOf(t), tag: t.Tag})
	}
	return read
}

func percentOf(t servingv1.TrafficTarget) int {
	if t.Percent == nil {
		return 0
	}
	return int(*t.Percent)
}

// split is the traffic as a split of ours; the empty one where it is none. KServe may name a revision twice.
func (t traffic) split() rollout.Split {
	shares := map[rollout.Number]int{}
	for _, target := range t {
		shares[target.revision] += target.percent
	}
	var all []rollout.Share
	for n, percent := range shares {
		all = append(all, rollout.Share{Revision: n, Percent: percent})
	}
	split, err := rollout.NewSplit(all...)
	if err != nil {
		return rollout.Split{}
	}
	return split
}

// carries tells whether everybody gets what the split says. It is nothing to the split who else is named, with nothing:
// a revision that is being brought back.
func (t traffic) carries(split rollout.Split) bool {
	given := 0
	for _, target := range t {
		given += target.percent
		if target.percent != split.Percent(target.revision) && target.percent > 0 {
			return false
		}
	}
	for _, share := range split.Shares() {
		if share.Percent > 0 && !t.names(share.Revision) {
			return false
		}
	}
	return given == 100
}

func (t traffic) names(n rollout.Number) bool {
	return slices.ContainsFunc(t, func(target target) bool { return target.revision == n })
}

// percent is what a revision gets, named once or twice.
func (t traffic) percent(n rollout.Number) int {
	given := 0
	for _, target := range t {
		if target.revision == n {
			given += target.percent
		}
	}
	return given
}

// tagged are the revisions that tags lead to.
func (t traffic) tagged() []rollout.Number {
	var revisions []rollout.Number
	for _, target := range t {
		if target.tag != "" {
			revisions = append(revisions, target.revision)
		}
	}
	slices.Sort(revisions)
	return revisions
}

// takenOver tells whether Knative serves what the Knative Service says now: it has seen it as it is, its route is
// ready, and what it says that it serves is what it was asked for.
func takenOver(service *servingv1.Service) bool {
	ready := service.Status.GetCondition(servingv1.ServiceConditionRoutesReady)
	return service.Status.ObservedGeneration == service.Generation && ready.IsTrue() &&
		slices.EqualFunc(service.Spec.Traffic, service.Status.Traffic, func(asked, served servingv1.TrafficTarget) bool {
			return asked.RevisionName == served.RevisionName && percentOf(asked) == percentOf(served) && asked.Tag == served.Tag
		})
}

// targets writes traffic as Knative takes it: newest revision first, and always by name.
func (t traffic) targets(isvc string) []servingv1.TrafficTarget {
	sorted := slices.SortedFunc(slices.Values(t), func(a, b target) int { return cmp.Compare(b.revision, a.revision) })
	targets := make([]servingv1.TrafficTarget, len(sorted))
	for i, target := range sorted {
		targets[i] = servingv1.TrafficTarget{
			RevisionName:   backend.RevisionName(isvc, target.revision),
			LatestRevision: new(false),
			Percent:        new(int64(target.percent)),
			Tag:            target.tag,
		}
	}
	return targets
}
