// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"maps"
	"slices"
	"strings"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// Keys of KServe that are not part of the API package.
const (
	annotationGKEAccelerator        = "serving.kserve.io/gke-accelerator"
	annotationStorageInitializerUID = "serving.kserve.io/storage-initializer-uid"
	annotationServerType            = "serving.kserve.io/server-type"
	annotationMetricsPort           = "prometheus.kserve.io/port"
	annotationMetricsPath           = "prometheus.kserve.io/path"
	annotationModelFormat           = "modelFormat"
)

// toolKeys are written by deployment tools. They do not affect pods and can change although the
// model does not.
var toolKeys = []string{
	"kubectl.kubernetes.io/*",
	"kubernetes.io/change-cause",
	"deployment.kubernetes.io/*",
	"argocd.argoproj.io/*",
	"app.kubernetes.io/instance",
	"app.kubernetes.io/managed-by",
	"helm.sh/*",
	"meta.helm.sh/*",
	"kustomize.toolkit.fluxcd.io/*",
	"helm.toolkit.fluxcd.io/*",
	"reconcile.fluxcd.io/*",
	"fluxcd.controlplane.io/*",
	"objectset.rio.cattle.io/*",
	"kapp.k14s.io/*",
	"configsync.gke.io/*",
	"configmanagement.gke.io/*",
	"config.kubernetes.io/*",
	"internal.config.kubernetes.io/*",
	"config.k8s.io/*",
	"velero.io/*",
	"skaffold.dev/*",
}

var unpropagatedLabels = append([]string{
	v1beta1.LabelInferenceService,
	v1beta1.LabelRevision,
	v1beta1.LabelComponent,
	v1beta1.LabelNetworkVisibility,
	v1beta1.LabelKnativeNetworkVisibility,
	"internal.serving.kserve.io/*",
}, toolKeys...)

var unpropagatedAnnotations = append([]string{
	v1beta1.AnnotationDeploymentMode,
	v1beta1.AnnotationStop,
	v1beta1.AnnotationDisableAutoUpdate,
	v1beta1.AnnotationAutoscalerClass,
	v1beta1.AnnotationMetrics,
	v1beta1.AnnotationTargetUtilizationPercentage,
	"serving.kserve.io/disable-localmodel",
	"serving.kserve.io/enable-metric-aggregation",
	"serving.kserve.io/gpu-resource-types",
	"serving.kserve.io/nodegroup",
	"internal.serving.kserve.io/*",
	"serving.knative.dev/rollout-duration",
	"serving.knative.openshift.io/enablePassthrough",
	"autoscaling.knative.dev/min-scale",
	"autoscaling.knative.dev/minScale",
	"autoscaling.knative.dev/max-scale",
	"autoscaling.knative.dev/maxScale",
	annotationModelFormat,
	"serinus.io/*",
}, toolKeys...)

// Matches reports whether a key matches a pattern of the settings.
func Matches(key, pattern string) bool {
	return matches(key, []string{pattern})
}

type metadata struct {
	labels      values
	annotations values
}

type values struct {
	inherited map[string]string // From the InferenceService's metadata.
	own       map[string]string // From its predictor. They override inherited.
}

func (v values) effective() map[string]string {
	return union(v.inherited, v.own)
}

// propagated returns the labels and annotations that propagate to the pods. Only the settings can
// exclude those that the predictor sets itself.
func propagated(isvc *v1beta1.InferenceService, settings Settings) metadata {
	predictor := isvc.Spec.Predictor
	return metadata{
		labels: values{
			inherited: without(isvc.Labels, unpropagatedLabels, settings.ExcludedLabels),
			own:       without(predictor.Labels, settings.ExcludedLabels),
		},
		annotations: values{
			inherited: without(isvc.Annotations, unpropagatedAnnotations, settings.ExcludedAnnotations),
			own:       without(predictor.Annotations, settings.ExcludedAnnotations),
		},
	}
}

// without returns the entries of m that no pattern matches. It also drops misspelled keys of
// KServe: they have no effect, so they must not create a revision.
func without(m map[string]string, patterns ...[]string) map[string]string {
	rest := map[string]string{}
	for key, value := range m {
		if correctKey(key) == "" && !slices.ContainsFunc(patterns, func(p []string) bool { return matches(key, p) }) {
			rest[key] = value
		}
	}
	return rest
}

func matches(key string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(key, prefix)
		}
		return key == pattern
	})
}

// union merges maps. Later maps override earlier ones.
func union(all ...map[string]string) map[string]string {
	result := map[string]string{}
	for _, m := range all {
		maps.Copy(result, m)
	}
	return result
}
