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

// traffic is the traffic of a Knative Service, by revision numbers.
type traffic []target

type target struct {
	revision rollout.Number
	percent  int
	tag      string
}

// readTraffic reads the spec of a Knative Service. If the spec does not name revisions, as KServe's
// does not, it reads the status. Before Knative has served anything, the traffic is empty.
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

// split converts the traffic to a split; it is empty if the traffic is not a valid split. KServe
// may name a revision twice.
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

// matches reports whether the traffic matches the split. Additional entries with a share of 0 do
// not matter: they name revisions that are being brought back.
func (t traffic) matches(split rollout.Split) bool {
	total := 0
	for _, target := range t {
		total += target.percent
		if target.percent != split.Percent(target.revision) && target.percent > 0 {
			return false
		}
	}
	for _, share := range split.Shares() {
		if share.Percent > 0 && !t.names(share.Revision) {
			return false
		}
	}
	return total == 100
}

func (t traffic) names(n rollout.Number) bool {
	return slices.ContainsFunc(t, func(target target) bool { return target.revision == n })
}

// percent returns the share of a revision, which may be named twice.
func (t traffic) percent(n rollout.Number) int {
	total := 0
	for _, target := range t {
		if target.revision == n {
			total += target.percent
		}
	}
	return total
}

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

// isServed reports whether Knative serves the traffic in the spec: the generation is observed, the
// route is ready, and the status has the same traffic.
func isServed(service *servingv1.Service) bool {
	ready := service.Status.GetCondition(servingv1.ServiceConditionRoutesReady)
	return service.Status.ObservedGeneration == service.Generation && ready.IsTrue() &&
		slices.EqualFunc(service.Spec.Traffic, service.Status.Traffic, func(requested, served servingv1.TrafficTarget) bool {
			return requested.RevisionName == served.RevisionName && percentOf(requested) == percentOf(served) && requested.Tag == served.Tag
		})
}

// targets converts the traffic to Knative's form, newest revision first and always by name.
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
