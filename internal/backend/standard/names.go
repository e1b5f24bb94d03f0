// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"strings"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Annotations on our objects, beside those of package objects.
const (
	// annotationIdleSince is since when no route has named a Deployment.
	annotationIdleSince = objects.OwnPrefix + "idle-since"
	// annotationScaledUpAt is when a Deployment was last scaled up from zero.
	annotationScaledUpAt = objects.OwnPrefix + "scaled-up-at"
	// annotationHeldReplicas is the number of replicas that a Deployment was raised to against an
	// external autoscaler. annotationLowered is how often the autoscaler has lowered them since.
	annotationHeldReplicas = objects.OwnPrefix + "held-replicas"
	annotationLowered      = objects.OwnPrefix + "held-replicas-lowered"
	// annotationCopiedReplicas is the number of replicas that the operator has copied from a
	// Deployment to a ScaleTarget.
	annotationCopiedReplicas = objects.OwnPrefix + "copied-replicas"
	// annotationRevision holds the [summarise] output on a revision's Deployment.
	annotationRevision = objects.OwnPrefix + "revision"
)

// Vocabulary lists the metadata keys and values that all our objects share.
func Vocabulary() []string {
	return []string{
		v1beta1.LabelInferenceService, v1beta1.LabelRevision, v1beta1.LabelComponent, v1beta1.LabelManagedBy,
		string(v1beta1.PredictorComponent), v1beta1.ManagedBySerinus,
		objects.AnnotationState, annotationIdleSince, objects.AnnotationHash, annotationRevision,
	}
}

func deploymentName(isvc string, n rollout.Number) string {
	return backend.RevisionName(isvc, n) + "-deployment"
}

// deploymentNumber returns the revision of a Deployment with that name; 0 for any other name.
func deploymentNumber(isvc, name string) rollout.Number {
	revision, ok := strings.CutSuffix(name, "-deployment")
	if !ok {
		return 0
	}
	return backend.RevisionNumber(isvc, revision)
}

func tagRouteName(tag, isvc string) string { return tag + "-" + backend.PredictorName(isvc) }
