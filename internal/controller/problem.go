// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// Reasons of problems, in the conditions.
const (
	reasonOwnershipConflict      = "OwnershipConflict"
	reasonRefused                = "RefusedByAPIServer"
	reasonCredentials            = "CredentialsNotReadable"
	reasonCredentialsMissing     = "CredentialsNotFound"
	reasonCredentialsGone        = "CredentialsGone"
	reasonCredentialsChanged     = "CredentialsChanged"
	reasonDeploymentMode         = "DeploymentModeNotSupported"
	reasonDeploymentModeChanged  = "DeploymentModeChanged"
	reasonHostName               = "HostNameInvalid"
	reasonHostTaken              = "HostNameTaken"
	reasonLocalGatewayNotDefined = "LocalGatewayNotConfigured"
	reasonNotApplied             = "NotApplied"
	reasonNewerState             = "NewerRolloutState"
	reasonDeletionBlocked        = "DeletionBlocked"
)

// problemError is a problem on its way up.
type problemError struct{ status.Problem }

func (e *problemError) Error() string { return e.Message }

// problemOf tells what a user must mend about an error; nil where it mends itself.
func problemOf(err error) *status.Problem {
	if problem, ok := errors.AsType[*problemError](err); ok {
		return &problem.Problem
	}
	if newer, ok := errors.AsType[*rollout.NewerVersionError](err); ok {
		return &status.Problem{Condition: v1beta1.ConditionRoutesReady, Reason: reasonNewerState, Message: newer.Error()}
	}
	if conflict, ok := errors.AsType[*backend.ConflictError](err); ok {
		condition := v1beta1.ConditionPredictorReady
		if conflict.Kind == "HTTPRoute" {
			condition = v1beta1.ConditionIngressReady
		}
		return &status.Problem{Condition: condition, Reason: reasonOwnershipConflict, Message: conflict.Error()}
	}
	if invalid, ok := errors.AsType[*predictor.Error](err); ok {
		return &status.Problem{
			Condition: v1beta1.ConditionPredictorReady,
			Reason:    string(invalid.Reason),
			Message:   invalid.Error(),
			Failure:   invalid.Reason,
		}
	}
	if isRefusal(err) {
		condition := v1beta1.ConditionPredictorReady
		if isAboutRoute(err) {
			condition = v1beta1.ConditionIngressReady
		}
		return &status.Problem{Condition: condition, Reason: reasonRefused, Message: withSpecFields(backend.StableMessage(err.Error())) + "; it is tried again every 30 seconds"}
	}
	return nil
}

// withSpecFields names, in what the API server says of a Deployment, the field that a user can change.
func withSpecFields(message string) string {
	return strings.ReplaceAll(message, "spec.strategy", "spec.predictor.deploymentStrategy")
}

// isAboutRoute tells whether it is a route that the API server does not take.
func isAboutRoute(err error) bool {
	answer := apierrors.APIStatus(nil)
	return errors.As(err, &answer) && answer.Status().Details != nil && answer.Status().Details.Group == gatewayv1.GroupName
}

// needsRecheck tells whether nothing wakes us when an error that is a problem ends. A spec that cannot be run ends with the
// spec or with a serving runtime, and both are watched; but that its host belongs to another ends with that one, and what
// is wrong with a secret ends with the secret.
func needsRecheck(err error, problem *status.Problem) bool {
	if invalid, ok := errors.AsType[*predictor.Error](err); ok {
		return invalid.InSecret
	}
	return problem.Failure == "" || problem.Reason == reasonHostTaken
}

// refusal tells whether the API server refuses what we write: it is invalid, forbidden by a policy or over a quota. A
// namespace that is going away refuses everything, and is no problem of anybody's.
func isRefusal(err error) bool {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return false
	}
	return backend.IsRefusal(err)
}

// leaves are the errors that were joined, each with what it wraps.
func flattenErrors(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, inner := range joined.Unwrap() {
		all = append(all, flattenErrors(inner)...)
	}
	return all
}
