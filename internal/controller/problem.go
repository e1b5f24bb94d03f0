// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// Reasons of problems in conditions.
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

// problemError is a problem that is returned as an error.
type problemError struct{ status.Problem }

func (e *problemError) Error() string { return e.Message }

// problemOf returns the problem if a user must fix the error, or nil if a retry may succeed.
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
	if backend.IsRefusal(err) {
		condition := v1beta1.ConditionPredictorReady
		if isAboutRoute(err) {
			condition = v1beta1.ConditionIngressReady
		}
		return &status.Problem{Condition: condition, Reason: reasonRefused, Message: withSpecFields(backend.StableMessage(err.Error())) + "; it is tried again every 30 seconds"}
	}
	return nil
}

// withSpecFields replaces fields of a Deployment in a message of the API server with those of the
// InferenceService.
func withSpecFields(message string) string {
	return strings.ReplaceAll(message, "spec.strategy", "spec.predictor.deploymentStrategy")
}

// isAboutRoute reports whether the API server's error is about an object of the Gateway API.
func isAboutRoute(err error) bool {
	answer := apierrors.APIStatus(nil)
	return errors.As(err, &answer) && answer.Status().Details != nil && answer.Status().Details.Group == gatewayv1.GroupName
}

// needsRecheck reports whether no watch tells when a problem ends. Specs and serving runtimes are
// watched. Secrets and InferenceServices with the same host are not.
func needsRecheck(err error, problem *status.Problem) bool {
	if invalid, ok := errors.AsType[*predictor.Error](err); ok {
		return invalid.InSecret
	}
	return problem.Failure == "" || problem.Reason == reasonHostTaken
}
