// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"encoding/json"
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

// controllerRevision is the durable record of a revision. The API server lets nobody change its data, so what a
// revision runs is fixed when it is made: an upgrade of the operator renders new revisions only.
func controllerRevision(isvc *v1beta1.InferenceService, n rollout.Number, revision backend.NewRevision) (*appsv1.ControllerRevision, error) {
	data, err := json.Marshal(revision)
	if err != nil {
		return nil, fmt.Errorf("encoding revision %s: %w", backend.RevisionName(isvc.Name, n), err)
	}
	record := &appsv1.ControllerRevision{
		ObjectMeta: childMeta(isvc, backend.RevisionName(isvc.Name, n), n),
		Data:       runtime.RawExtension{Raw: data},
		Revision:   int64(n),
	}
	record.Annotations = map[string]string{annotationInputs: revision.Inputs}
	return record, nil
}

func decodeRevision(record *appsv1.ControllerRevision) (backend.NewRevision, error) {
	var revision backend.NewRevision
	if err := json.Unmarshal(record.Data.Raw, &revision); err != nil {
		return backend.NewRevision{}, fmt.Errorf("decoding ControllerRevision %q: %w", record.Name, err)
	}
	return revision, nil
}

// revisionOf reads back from a Deployment and its Service what a revision is, after its record was deleted by hand.
// The pod template keeps what the API server added to it: applied again, it restarts nothing.
func revisionOf(deployment *appsv1.Deployment, service *corev1.Service) backend.NewRevision {
	revision := backend.NewRevision{Inputs: deployment.Annotations[annotationInputs]}
	revision.Runs.Template = *deployment.Spec.Template.DeepCopy()
	for _, key := range []string{
		v1beta1.LabelInferenceService, v1beta1.LabelComponent, v1beta1.LabelManagedBy, v1beta1.LabelRevision,
	} {
		delete(revision.Runs.Template.Labels, key)
	}
	if service != nil && len(service.Spec.Ports) > 0 {
		revision.Runs.Port = service.Spec.Ports[0].TargetPort.IntVal
	}
	return revision
}

// podTemplate is what the revision runs, under our labels.
func podTemplate(revision backend.NewRevision, labels map[string]string) corev1.PodTemplateSpec {
	template := *revision.Runs.Template.DeepCopy()
	if template.Labels == nil {
		template.Labels = map[string]string{}
	}
	maps.Copy(template.Labels, labels)
	for _, containers := range [][]corev1.Container{template.Spec.InitContainers, template.Spec.Containers} {
		for i := range containers {
			roundUp(containers[i].Resources.Limits)
			roundUp(containers[i].Resources.Requests)
		}
	}
	return template
}

// roundUp rounds to thousandths as the API server does: what we write must be what we then find.
func roundUp(resources corev1.ResourceList) {
	for name, quantity := range resources {
		quantity.RoundUp(resource.Milli)
		resources[name] = quantity
	}
}
