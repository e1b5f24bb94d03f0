// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"math"

	appsv1 "k8s.io/api/apps/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Snapshot returns the input of the next decision: the observed state and what the InferenceService
// and its policy ask for.
func Snapshot(
	isvc *v1beta1.InferenceService, mode v1beta1.DeploymentMode, observed *backend.Observation, target Target, automation Automation,
) rollout.Snapshot {
	reported := Reported(isvc)
	reported.Programmed = reportsProgrammed(isvc.Status, observed.Addresses.URL)
	return rollout.Snapshot{
		Desired:   desired(isvc, mode, observed, target, automation),
		Revisions: target.revisions(observed.Revisions),
		Route:     observed.Route,
		Evidence:  automation.Evidence,
		Reported:  reported,
	}
}

// desired reads the spec. An annotation with a malformed value keeps the current state.
func desired(
	isvc *v1beta1.InferenceService, mode v1beta1.DeploymentMode, observed *backend.Observation, target Target, automation Automation,
) rollout.Desired {
	desired := rollout.Desired{
		Hash:     target.Hash,
		Intent:   rollout.PercentIntent(percentOf(isvc), observed.Route.State),
		Manual:   percentOf(isvc) != nil,
		Plan:     automation.Plan,
		Commands: automation.Commands,
		Stopped:  switchedOn(isvc.Annotations, v1beta1.AnnotationStop, isStopped(isvc, observed.Route.State)),
		Tagged:   switchedOn(isvc.Annotations, v1beta1.AnnotationEnableTagRouting, observed.TagHosts),
		Replicas: Bounds(isvc, mode),
		Replace:  mode != v1beta1.DeploymentModeKnative && allowsReplacement(isvc.Spec.Predictor.DeploymentStrategy),
	}
	desired.Replicas.ScaleTarget = observed.ScaleTargetReplicas
	return desired
}

func percentOf(isvc *v1beta1.InferenceService) *int {
	if percent := isvc.Spec.Predictor.CanaryTrafficPercent; percent != nil {
		return new(int(*percent))
	}
	return nil
}

// switchedOn returns the value of a boolean annotation; otherwise is the value of any other text.
func switchedOn(annotations map[string]string, key string, otherwise bool) bool {
	switch annotations[key] {
	case "true":
		return true
	case "false", "":
		return false
	default:
		return otherwise
	}
}

// isStopped reports whether the InferenceService is stopped now, by the rollout state, or by the
// status if there is no rollout state.
func isStopped(isvc *v1beta1.InferenceService, state *rollout.State) bool {
	if state != nil {
		return state.Split.IsEmpty()
	}
	return apimeta.IsStatusConditionTrue(isvc.Status.Conditions, v1beta1.ConditionStopped)
}

// Bounds returns the replica bounds of each revision. In Knative mode they are those of Knative's
// autoscaler. In Standard mode no request can start a pod, so 0 replicas mean 1, as in KServe.
func Bounds(isvc *v1beta1.InferenceService, mode v1beta1.DeploymentMode) rollout.Bounds {
	spec := isvc.Spec.Predictor.ComponentExtensionSpec
	least := 1
	if spec.MinReplicas != nil {
		least = int(*spec.MinReplicas)
	}
	if mode == v1beta1.DeploymentModeKnative {
		return rollout.Bounds{Min: least, Max: int(spec.MaxReplicas), ScaledByKnative: true}
	}
	least = max(1, least)
	bounds := rollout.Bounds{Min: least, Max: max(least, int(spec.MaxReplicas))}
	switch v1beta1.AutoscalerClass(isvc.Annotations[v1beta1.AnnotationAutoscalerClass]) {
	case v1beta1.AutoscalerClassExternal:
		bounds.ScaledExternally = true
		if spec.MaxReplicas == 0 {
			bounds.Max = math.MaxInt32 // The external autoscaler has the bound.
		}
	case v1beta1.AutoscalerClassNone:
		bounds.Max = least
	default:
	}
	return bounds
}

// allowsReplacement reports whether the strategy allows the pods of a revision to stop before those
// of the next one are ready.
func allowsReplacement(strategy *appsv1.DeploymentStrategy) bool {
	switch {
	case strategy == nil:
		return false
	case strategy.Type == appsv1.RecreateDeploymentStrategyType:
		return true
	case strategy.RollingUpdate == nil || strategy.RollingUpdate.MaxSurge == nil:
		return false
	}
	surge, err := intstr.GetScaledValueFromIntOrPercent(strategy.RollingUpdate.MaxSurge, 100, true)
	return err == nil && surge == 0
}

// Reported returns the revisions and the split that the status reports.
func Reported(isvc *v1beta1.InferenceService) rollout.Reported {
	component := isvc.Status.Components[v1beta1.PredictorComponent]
	number := func(name string) rollout.Number { return backend.RevisionNumber(isvc.Name, name) }
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
	if reported := isvc.Status.Rollout; reported != nil {
		said.Trial = trialID(reported.Trial)
		said.Baking = isvc.Status.Phase == v1beta1.PhaseBaking
	}
	return said
}

// trialID returns the trial that a text such as «2.1» names, or none.
func trialID(text string) rollout.TrialID {
	var id rollout.TrialID
	if _, err := fmt.Sscanf(text, "%d.%d", &id.Revision, &id.Attempt); err != nil || id.String() != text || id.Revision < 1 || id.Attempt < 1 {
		return rollout.TrialID{}
	}
	return id
}

// reportsProgrammed reports whether the status says that the gateway serves the routes at this URL.
func reportsProgrammed(status v1beta1.InferenceServiceStatus, url string) bool {
	return status.URL == url && apimeta.IsStatusConditionTrue(status.Conditions, v1beta1.ConditionRoutesReady) &&
		apimeta.IsStatusConditionTrue(status.Conditions, v1beta1.ConditionIngressReady)
}
