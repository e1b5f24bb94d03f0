// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package knativetest simulates users and other controllers that change the objects of Knative
// mode. It works with any API server, fake or real.
package knativetest

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Hands implements the part of backendtest's Cluster that is the same in every cluster with
// Knative. Its methods fail the test on errors.
type Hands struct {
	T *testing.T
	// Server is a client without a cache.
	Server client.Client
	// Namespace and Name identify the InferenceService.
	Namespace, Name string
}

// Edit changes an object, and retries on conflicts.
func Edit[T client.Object](h Hands, name string, object T, change func(T)) {
	h.T.Helper()
	if err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := h.Server.Get(h.T.Context(), client.ObjectKey{Namespace: h.Namespace, Name: name}, object); err != nil {
			return err
		}
		change(object)
		return h.Server.Update(h.T.Context(), object)
	}); err != nil {
		h.T.Fatal(err)
	}
}

// Settings returns the settings of Knative mode.
func (h Hands) Settings() predictor.Settings {
	return predictor.Settings{Mode: v1beta1.DeploymentModeKnative}
}

// Pods lists all pods of the namespace.
func (h Hands) Pods() []*corev1.Pod {
	h.T.Helper()
	var list corev1.PodList
	if err := h.Server.List(h.T.Context(), &list, client.InNamespace(h.Namespace)); err != nil {
		h.T.Fatal(err)
	}
	return objects.Pointers(list.Items)
}

// Instances returns the sorted UIDs of a revision's pods.
func (h Hands) Instances(n rollout.Number) []string {
	h.T.Helper()
	var uids []string
	for _, pod := range h.Pods() {
		if pod.Labels[serving.RevisionLabelKey] == backend.RevisionName(h.Name, n) {
			uids = append(uids, string(pod.UID))
		}
	}
	slices.Sort(uids)
	return uids
}

// TouchRoute annotates the Knative Service.
func (h Hands) TouchRoute() {
	h.T.Helper()
	Edit(h, backend.PredictorName(h.Name), &servingv1.Service{}, func(s *servingv1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, "touched", s.ResourceVersion)
	})
}

// SetRecord replaces the rollout state on the Knative Service.
func (h Hands) SetRecord(text string) {
	h.T.Helper()
	Edit(h, backend.PredictorName(h.Name), &servingv1.Service{}, func(s *servingv1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, objects.AnnotationState, text)
	})
}

// StealRevision labels the Knative Revision as another Knative Service's. The returned function
// restores the labels.
func (h Hands) StealRevision(n rollout.Number) (giveBack func()) {
	h.T.Helper()
	own := func(service, uid string) (before [2]string) {
		Edit(h, backend.RevisionName(h.Name, n), &servingv1.Revision{}, func(r *servingv1.Revision) {
			before = [2]string{r.Labels[serving.ServiceLabelKey], r.Labels[serving.ServiceUIDLabelKey]}
			r.Labels[serving.ServiceLabelKey], r.Labels[serving.ServiceUIDLabelKey] = service, uid
		})
		return before
	}
	ours := own("web", "else")
	return func() { own(ours[0], ours[1]) }
}

// StealRoute makes another object control the Knative Service. The returned function restores the
// owner.
func (h Hands) StealRoute() (giveBack func()) {
	h.T.Helper()
	own := func(owners []metav1.OwnerReference) (before []metav1.OwnerReference) {
		Edit(h, backend.PredictorName(h.Name), &servingv1.Service{}, func(s *servingv1.Service) {
			before, s.OwnerReferences = s.OwnerReferences, owners
		})
		return before
	}
	ours := own([]metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Website", Name: "web", UID: "else", Controller: new(true)}})
	return func() { own(ours) }
}
