// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"maps"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// The Knative kinds that we write, with the names that kubectl needs: other API groups have kinds
// of the same names.
const (
	serviceKind  = "Service.serving.knative.dev"
	revisionKind = "Revision.serving.knative.dev"
)

// templateOf returns the template that creates a revision. It disables Knative's garbage
// collection, because the operator decides which revisions are kept.
func templateOf(isvc *v1beta1.InferenceService, n rollout.Number, revision backend.RenderedRevision) servingv1.RevisionTemplateSpec {
	pods := revision.Runs.Template.DeepCopy()
	template := servingv1.RevisionTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Name:        backend.RevisionName(isvc.Name, n),
			Labels:      map[string]string{},
			Annotations: map[string]string{},
		},
		Spec: servingv1.RevisionSpec{
			PodSpec:              withoutUnknownFields(pods.Spec),
			ContainerConcurrency: revision.Runs.ContainerConcurrency,
			TimeoutSeconds:       revision.Runs.TimeoutSeconds,
		},
	}
	if timeout := revision.Runs.TimeoutSeconds; timeout != nil && *timeout > 0 {
		template.Spec.ResponseStartTimeoutSeconds = timeout // As in KServe: the whole timeout may pass before the response starts.
	}
	maps.Copy(template.Labels, pods.Labels)
	maps.Copy(template.Labels, objects.Meta(isvc, "", n).Labels)
	maps.Copy(template.Annotations, pods.Annotations)
	template.Annotations[objects.AnnotationHash] = revision.Hash
	if revision.Amendment.Download != nil {
		template.Annotations[objects.AnnotationDownload] = revision.DownloadHash()
	}
	template.Annotations[serving.RevisionPreservedAnnotationKey] = "true"
	return template
}

// unknownInputs stands for the inputs of a revision that another writer has created. No spec has
// this hash.
const unknownInputs = "unknown"

// revisionOf reads a revision that has no ControllerRevision from its Knative Revision. The
// ControllerRevision was deleted, or KServe created the revision.
func revisionOf(knativeRevision *servingv1.Revision, origin backend.CurrentRevision) backend.RenderedRevision {
	revision := backend.RenderedRevision{Hash: origin.Hash}
	if revision.Hash == "" {
		revision.Hash = unknownInputs + "-" + knativeRevision.Name
	}
	revision.Runs.Identity, revision.Runs.Runtime = origin.Identity, origin.Runtime
	revision.Runs.Template.Spec = *knativeRevision.Spec.PodSpec.DeepCopy()
	revision.Runs.Template.Labels = without(knativeRevision.Labels, serving.GroupNamePrefix, v1beta1.LabelRevision)
	revision.Runs.Template.Annotations = without(knativeRevision.Annotations, serving.GroupNamePrefix, objects.OwnPrefix)
	revision.Runs.Port = 8080
	for _, container := range knativeRevision.Spec.Containers {
		if len(container.Ports) > 0 {
			revision.Runs.Port = container.Ports[0].ContainerPort
		}
	}
	revision.Runs.TimeoutSeconds, revision.Runs.ContainerConcurrency = knativeRevision.Spec.TimeoutSeconds, knativeRevision.Spec.ContainerConcurrency
	return revision
}

// without returns the labels or annotations that have none of the prefixes.
func without(all map[string]string, prefixes ...string) map[string]string {
	rest := maps.Clone(all)
	maps.DeleteFunc(rest, func(key, _ string) bool {
		for _, prefix := range prefixes {
			if strings.HasPrefix(key, prefix) {
				return true
			}
		}
		return false
	})
	return rest
}
