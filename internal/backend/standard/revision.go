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

// defaultPort is the port of a server that declares none.
const defaultPort = 8080

// longestSummary limits the size of an annotation.
const longestSummary = 128 << 10

// summarise encodes a revision without its pod template, and without a long user spec. The
// Deployment carries the result, so that a deleted ControllerRevision can be restored.
func summarise(revision backend.RenderedRevision) string {
	revision.Runs.Template = corev1.PodTemplateSpec{}
	if revision.Amendment.User != nil || revision.User != nil && len(revision.User.Predictor) > longestSummary {
		revision.User = nil
	}
	data, err := json.Marshal(revision)
	if err != nil {
		panic(fmt.Sprintf("encoding a revision without its pods: %v", err)) // Strings and numbers can always be encoded.
	}
	return string(data)
}

// revisionOf restores a revision from its Deployment and Service after its ControllerRevision was
// deleted. The pod template keeps the API server's defaults, so applying it restarts no pods.
func revisionOf(deployment *appsv1.Deployment, service *corev1.Service) backend.RenderedRevision {
	var revision backend.RenderedRevision
	if err := json.Unmarshal([]byte(deployment.Annotations[annotationRevision]), &revision); err != nil {
		revision = backend.RenderedRevision{Hash: deployment.Annotations[objects.AnnotationHash]}
		revision.Runs.Port, revision.Runs.AppProtocol = portOf(deployment, service)
		if service != nil && len(service.Spec.Ports) > 1 {
			revision.Runs.AdditionalPorts = service.DeepCopy().Spec.Ports[1:]
		}
	}
	revision.Runs.Template = *deployment.Spec.Template.DeepCopy()
	delete(revision.Runs.Template.Labels, v1beta1.LabelRevision)
	return revision
}

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

func podTemplate(revision backend.RenderedRevision, labels map[string]string) corev1.PodTemplateSpec {
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

// roundUp rounds quantities to thousandths as the API server does, so that the written value equals
// the stored one.
func roundUp(resources corev1.ResourceList) {
	for name, quantity := range resources {
		quantity.RoundUp(resource.Milli)
		resources[name] = quantity
	}
}
