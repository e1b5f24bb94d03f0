// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// kserveFinalizer is the suffix of the finalizers of KServe and its distributions. KServe cannot
// run in the same cluster to remove them.
const kserveFinalizer = "inferenceservice.finalizers"

// awaitDeletion reports which finalizers block a deletion. The objects are garbage collected with
// the InferenceService, so nothing is changed until then and the revisions keep serving.
func (s *scope) awaitDeletion(ctx context.Context) (ctrl.Result, error) {
	finalizers := slices.DeleteFunc(slices.Clone(s.isvc.Finalizers), func(finalizer string) bool {
		return finalizer == metav1.FinalizerOrphanDependents || finalizer == metav1.FinalizerDeleteDependents
	})
	isKServe := func(finalizer string) bool { return strings.HasSuffix(finalizer, kserveFinalizer) }
	if len(finalizers) == 0 {
		return ctrl.Result{}, nil
	}
	if waited := s.Clock.Since(s.isvc.DeletionTimestamp.Time); !slices.ContainsFunc(finalizers, isKServe) && waited >= 0 && waited < persistentFailureAfter {
		return ctrl.Result{RequeueAfter: persistentFailureAfter - waited}, nil // Most controllers remove their finalizers sooner.
	}
	if err := s.recoverMode(ctx); err != nil {
		return ctrl.Result{}, err
	}
	session, err := s.backend().Observe(ctx, s.isvc)
	if s.collectProblem(err) != nil {
		return ctrl.Result{}, fmt.Errorf("observing: %w", err)
	}
	if err == nil {
		s.observed = session.Observation()
		s.decide(intent.Target{})
	}
	s.problem = &status.Problem{
		Condition: v1beta1.ConditionReady,
		Reason:    reasonDeletionBlocked,
		Message:   s.describeFinalizers(finalizers, isKServe) + s.describeServed() + s.describeUnblocking(isKServe),
	}
	return ctrl.Result{RequeueAfter: s.requeueAfter()}, s.report(ctx)
}

func (s *scope) describeFinalizers(finalizers []string, isKServe func(string) bool) string {
	names := strings.Join(slices.Sorted(slices.Values(finalizers)), ", ")
	if slices.ContainsFunc(finalizers, isKServe) {
		return fmt.Sprintf("the deletion waits for the finalizers %s; only KServe removes its own, and KServe is not in this cluster", names)
	}
	return fmt.Sprintf("the deletion waits for the finalizers %s; the controllers that have set them remove them", names)
}

func (s *scope) describeServed() string {
	serves := s.observed != nil && s.observed.RouteStatus.Exists && slices.ContainsFunc(s.snapshot.Revisions, func(revision rollout.Revision) bool {
		return s.decision.Served.Percent(revision.Number) > 0 && revision.Capacity() > 0
	})
	if !serves {
		return "; until then the operator changes nothing, and no revision serves"
	}
	return "; until then the operator changes nothing, and clients are served: " + status.Words(s.isvc.Name, s.decision.Served)
}

func (s *scope) describeUnblocking(isKServe func(string) bool) string {
	var remaining []string
	if slices.ContainsFunc(s.isvc.Finalizers, isKServe) {
		remaining = slices.DeleteFunc(slices.Clone(s.isvc.Finalizers), isKServe)
	}
	value := "null"
	if len(remaining) > 0 {
		encoded, err := json.Marshal(remaining)
		if err == nil {
			value = string(encoded)
		}
	}
	command := fmt.Sprintf(`kubectl patch inferenceservices.serving.kserve.io -n %s %s --type=merge -p '{"metadata":{"finalizers":%s}}'`,
		s.isvc.Namespace, s.isvc.Name, value)
	if remaining == nil && !slices.ContainsFunc(s.isvc.Finalizers, isKServe) {
		return "; where such a controller is gone, this ends it: " + command
	}
	return "; this ends it: " + command
}
