// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package knativetest simulates users and other controllers that change the objects of Knative
// mode. It works with any API server, fake or real.
package knativetest

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// Driver implements the part of backendtest's Cluster that is the same in every cluster with
// Knative.
type Driver struct {
	testkit.Objects

	// Name is the name of the InferenceService.
	Name string
}

// Settings returns the settings of Knative mode.
func (d Driver) Settings() predictor.Settings {
	return predictor.Settings{Mode: v1beta1.DeploymentModeKnative}
}

// Pods lists all pods of the namespace.
func (d Driver) Pods() []*corev1.Pod {
	d.T.Helper()
	var list corev1.PodList
	d.List(&list)
	return objects.Pointers(list.Items)
}

// Instances returns the sorted UIDs of a revision's pods.
func (d Driver) Instances(n rollout.Number) []string {
	d.T.Helper()
	var uids []string
	for _, pod := range d.Pods() {
		if pod.Labels[serving.RevisionLabelKey] == backend.RevisionName(d.Name, n) {
			uids = append(uids, string(pod.UID))
		}
	}
	slices.Sort(uids)
	return uids
}

// TouchRoute annotates the Knative Service.
func (d Driver) TouchRoute() {
	d.T.Helper()
	testkit.EditObject(d.Objects, backend.PredictorName(d.Name), &servingv1.Service{}, func(s *servingv1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, "touched", s.ResourceVersion)
	})
}

// SetRolloutState replaces the rollout state on the Knative Service.
func (d Driver) SetRolloutState(text string) {
	d.T.Helper()
	testkit.EditObject(d.Objects, backend.PredictorName(d.Name), &servingv1.Service{}, func(s *servingv1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, objects.AnnotationState, text)
	})
}

// StealRevision labels the Knative Revision as another Knative Service's. The returned function
// restores the labels.
func (d Driver) StealRevision(n rollout.Number) (giveBack func()) {
	d.T.Helper()
	own := func(service, uid string) (before [2]string) {
		testkit.EditObject(d.Objects, backend.RevisionName(d.Name, n), &servingv1.Revision{}, func(r *servingv1.Revision) {
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
func (d Driver) StealRoute() (giveBack func()) {
	d.T.Helper()
	own := func(owners []metav1.OwnerReference) (before []metav1.OwnerReference) {
		testkit.EditObject(d.Objects, backend.PredictorName(d.Name), &servingv1.Service{}, func(s *servingv1.Service) {
			before, s.OwnerReferences = s.OwnerReferences, owners
		})
		return before
	}
	ours := own([]metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Website", Name: "web", UID: "else", Controller: new(true)}})
	return func() { own(ours) }
}
