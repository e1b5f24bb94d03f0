// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

// The types of the conditions of an InferenceService.
const (
	// ConditionReady is True when the spec is fully realised, Unknown while it
	// progresses and False when it cannot be without help.
	ConditionReady = "Ready"
	// ConditionPredictorReady says whether the revisions that should serve can.
	ConditionPredictorReady = "PredictorReady"
	// ConditionLatestDeploymentReady says whether the revision that the spec asks for
	// is ready.
	ConditionLatestDeploymentReady = "LatestDeploymentReady"
	// ConditionRoutesReady says whether the split that is wanted is the one that is
	// served.
	ConditionRoutesReady = "RoutesReady"
	// ConditionIngressReady says whether the gateway took over the routes.
	ConditionIngressReady = "IngressReady"
	// ConditionStopped says whether the user stopped the InferenceService.
	ConditionStopped = "Stopped"
	// ConditionRolloutCompleted says where the rollout of a CanaryPolicy stands. It exists only
	// while a policy applies to a rollout.
	ConditionRolloutCompleted = "RolloutCompleted"
	// ConditionSettingsIgnored names the accepted fields, labels and annotations that have
	// no effect. It is absent where there are none, and Ready does not depend on it.
	ConditionSettingsIgnored = "SettingsIgnored"
)
