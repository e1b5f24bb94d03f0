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

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
)

// defaultPort is where a server listens that names no port.
const defaultPort = 8080

// longestSummary is what fits well into an annotation.
const longestSummary = 128 << 10

// summarise encodes a revision without its pod template, and without a long user spec. The Deployment carries it, so that a
// deleted record can be restored.
func summarise(revision backend.NewRevision) string {
	revision.Runs.Template = corev1.PodTemplateSpec{}
	if revision.Amendment.User != nil || revision.User != nil && len(revision.User.Predictor) > longestSummary {
		revision.User = nil
	}
	data, err := json.Marshal(revision)
	if err != nil {
		panic(fmt.Sprintf("encoding a revision without its pods: %v", err)) // Strings and numbers always encode.
	}
	return string(data)
}

// revisionOf reads back from a Deployment and its Service what a revision is, after its record was deleted by hand.
// The pod template keeps what the API server added to it: applied again, it restarts nothing.
func revisionOf(deployment *appsv1.Deployment, service *corev1.Service) backend.NewRevision {
	var revision backend.NewRevision
	if err := json.Unmarshal([]byte(deployment.Annotations[annotationRevision]), &revision); err != nil {
		revision = backend.NewRevision{Inputs: deployment.Annotations[objects.AnnotationInputs]}
		revision.Runs.Port, revision.Runs.AppProtocol = portOf(deployment, service)
		if service != nil && len(service.Spec.Ports) > 1 {
			revision.Runs.AdditionalPorts = service.DeepCopy().Spec.Ports[1:]
		}
	}
	revision.Runs.Template = *deployment.Spec.Template.DeepCopy()
	delete(revision.Runs.Template.Labels, v1beta1.LabelRevision)
	return revision
}

// portOf is where a revision serves, by its Service or, where that is gone too, by its pods.
func portOf(deployment *appsv1.Deployment, service *corev1.Service) (port int32, appProtocol string) {
	if service != nil && len(service.Spec.Ports) > 0 {
		first := service.Spec.Ports[0]
		return first.TargetPort.IntVal, objects.ValueOr(first.AppProtocol, "")
	}
	for _, container := range deployment.Spec.Template.Spec.Containers {
		if container.Name == v1beta1.ServingContainerName && len(container.Ports) > 0 {
			return container.Ports[0].ContainerPort, ""
		}
	}
	return defaultPort, ""
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
