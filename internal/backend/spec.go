// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Wanted reads what the spec asks for beside its inputs. A control annotation whose value is malformed leaves things as
// they are: as the record says, and tagged where there are tag hosts.
func Wanted(isvc *v1beta1.InferenceService, bounds rollout.Bounds, record *rollout.Record, tagged bool) rollout.Wanted {
	wanted := rollout.Wanted{
		Replicas: bounds,
		Stopped:  SwitchedOn(isvc.Annotations, v1beta1.AnnotationStop, isStopped(isvc, record)),
		Tagged:   SwitchedOn(isvc.Annotations, v1beta1.AnnotationEnableTagRouting, tagged),
	}
	if percent := isvc.Spec.Predictor.CanaryTrafficPercent; percent != nil {
		wanted.Percent = new(int(*percent))
	}
	return wanted
}

// isStopped tells whether it is stopped now, by the record, or where there never was one by what was reported.
func isStopped(isvc *v1beta1.InferenceService, record *rollout.Record) bool {
	if record != nil {
		return record.Split.IsEmpty()
	}
	return apimeta.IsStatusConditionTrue(isvc.Status.Conditions, v1beta1.ConditionStopped)
}

// SwitchedOn reads an annotation that is a switch.
func SwitchedOn(annotations map[string]string, key string, otherwise bool) bool {
	switch annotations[key] {
	case "true":
		return true
	case "false", "":
		return false
	default:
		return otherwise
	}
}

// Reported is what the status says of the rollout.
func Reported(isvc *v1beta1.InferenceService) rollout.Reported {
	component := isvc.Status.Components[v1beta1.PredictorComponent]
	number := func(name string) rollout.Number { return RevisionNumber(isvc.Name, name) }
	said := rollout.Reported{
		Stable:   number(component.LatestRolledoutRevision),
		Previous: number(component.PreviousRolledoutRevision),
		Target:   number(component.LatestCreatedRevision),
		Tried:    isvc.Status.Phase == v1beta1.PhaseRolledBack,
	}
	var shares []rollout.Share
	for _, target := range component.Traffic {
		share := rollout.Share{Revision: number(target.RevisionName)}
		if target.Percent != nil {
			share.Percent = int(*target.Percent)
		}
		shares = append(shares, share)
	}
	if split, err := rollout.NewSplit(shares...); err == nil {
		said.Split = split
	}
	return said
}
