// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"knative.dev/serving/pkg/apis/config"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// reasonNotInstalled is the condition reason for a cluster without Knative Serving.
const reasonNotInstalled = "KnativeNotInstalled"

// routeStatus returns the status of the route that users see. A first revision that does not become
// ready is not a failure of the route.
func (b *Backend) routeStatus(observed *children) backend.RouteStatus {
	if !b.Installed() {
		return backend.RouteStatus{
			Refused: true,
			Reason:  reasonNotInstalled,
			Message: "the cluster does not have Knative Serving (Service of serving.knative.dev/v1); install it, see https://knative.dev/docs/install/, " +
				"or have predictors run without it with the annotation serving.kserve.io/deploymentMode: Standard on a new InferenceService",
		}
	}
	service := observed.service
	if service == nil {
		return backend.RouteStatus{}
	}
	detail := backend.RouteStatus{Exists: true}
	ready := service.Status.GetCondition(servingv1.ServiceConditionRoutesReady)
	if service.Annotations[objects.AnnotationState] == "" || service.Status.ObservedGeneration != service.Generation || !ready.IsFalse() {
		return detail
	}
	detail.Refused, detail.Reason = true, ready.Reason
	detail.Message = fmt.Sprintf("Knative does not serve the split: %s; see what it says with: kubectl describe services.serving.knative.dev -n %s %s",
		strings.TrimSuffix(backend.StableMessage(ready.Message), "."), service.Namespace, service.Name)
	return detail
}

// explain adds to a refusal which Knative features allow the refused fields.
func explain(err error) error {
	if err == nil {
		return nil
	}
	switch features := featuresFor(err.Error()); {
	case len(features) > 0:
		return fmt.Errorf("%w; Knative allows this only with a feature (https://knative.dev/docs/serving/configuration/feature-flags/), which an administrator enables with: %s",
			err, enable(features))
	case strings.Contains(err.Error(), "must not set the field(s)"):
		return fmt.Errorf("%w; Knative does not allow this: remove it, or run the InferenceService in %s mode", err, v1beta1.DeploymentModeStandard)
	case strings.Contains(err.Error(), "unknown field"):
		return fmt.Errorf("%w; the installed Knative has no such field: remove it, or run the InferenceService in %s mode", err, v1beta1.DeploymentModeStandard)
	}
	return err
}

// explain adds to a refusal of a revision which fields of the InferenceService or of its serving
// runtime it is about.
func (w *writer) explain(err error, n rollout.Number) error {
	err = explain(err)
	if err == nil || !podFields.MatchString(err.Error()) {
		return err
	}
	revision := w.History.Revisions[n]
	pod := asMap(revision.Runs.Template.Spec)
	text := podFields.ReplaceAllStringFunc(err.Error(), func(field string) string {
		return source(w.isvc, revision.Runs.Runtime, pathTo(pod, strings.TrimPrefix(field, podField)))
	})
	return &explainedError{text: text, err: err}
}

type explainedError struct {
	text string
	err  error
}

func (e *explainedError) Error() string { return e.text }
func (e *explainedError) Unwrap() error { return e.err }

const podField = "spec.template.spec."

// podFields matches the pod fields in messages of the API server and of Knative's webhook.
var podFields = regexp.MustCompile(`spec\.template\.spec\.[A-Za-z0-9.\[\]]*[A-Za-z0-9\]]`)

func pathTo(value any, field string) fieldPath {
	var path fieldPath
	for step := range strings.SplitSeq(strings.ReplaceAll(field, "[", ".["), ".") {
		switch inner := value.(type) {
		case map[string]any:
			value = inner[step]
		case []any:
			index, err := strconv.Atoi(strings.Trim(step, "[]"))
			if err != nil || index < 0 || index >= len(inner) {
				value = nil
				break
			}
			value, step = inner[index], itemKey(inner[index], index)
		}
		path = append(path, step)
	}
	return path
}

// features maps the last part of a field, or a phrase of Knative's webhook, to the Knative feature
// that allows it.
var features = map[string]string{
	"affinity":                  config.FeaturePodSpecAffinity,
	"dnsConfig":                 config.FeaturePodSpecDNSConfig,
	"dnsPolicy":                 config.FeaturePodSpecDNSPolicy,
	"hostAliases":               config.FeaturePodSpecHostAliases,
	"hostIPC":                   config.FeaturePodSpecHostIPC,
	"hostNetwork":               config.FeaturePodSpecHostNetwork,
	"hostPID":                   config.FeaturePodSpecHostPID,
	"initContainers":            config.FeaturePodSpecInitContainers,
	"nodeSelector":              config.FeaturePodSpecNodeSelector,
	"priorityClassName":         config.FeaturePodSpecPriorityClassName,
	"runtimeClassName":          config.FeaturePodSpecRuntimeClassName,
	"schedulerName":             config.FeaturePodSpecSchedulerName,
	"shareProcessNamespace":     config.FeaturePodSpecShareProcessNamespace,
	"tolerations":               config.FeaturePodSpecTolerations,
	"topologySpreadConstraints": config.FeaturePodSpecTopologySpreadConstraints,
	// The pod's; a container may have one without the feature.
	"spec.securityContext": config.FeaturePodSpecSecurityContext,
	"capabilities.add":     config.FeatureContainerSpecAddCapabilities,
	"fieldRef":             config.FeaturePodSpecFieldRef,
	"resourceFieldRef":     config.FeaturePodSpecFieldRef,
	"mountPropagation":     config.FeaturePodSpecVolumesMountPropagation,
	"Probe":                "multi-container-probing",

	"init-containers is off":                       config.FeaturePodSpecInitContainers,
	"multi-container is off":                       "multi-container",
	"Volume Mount Propagation support is disabled": config.FeaturePodSpecVolumesMountPropagation,
	"Persistent volume claim support is disabled":  config.FeaturePodSpecPVClaim,
	"Persistent volume write support is disabled":  "kubernetes.podspec-persistent-volume-write",
	"Image volume support is disabled":             config.FeaturePodSpecVolumesImage,
	"EmptyDir volume support is disabled":          config.FeaturePodSpecEmptyDir,
	"HostPath volume support is disabled":          config.FeaturePodSpecHostPath,
	"CSI volume support is disabled":               config.FeaturePodSpecVolumesCSI,
	"Ephemeral volume support is disabled":         config.FeaturePodSpecVolumesEphemeral,
}

func featuresFor(refusal string) []string {
	found := map[string]bool{}
	for cause, feature := range features {
		if strings.Contains(cause, " ") {
			found[feature] = found[feature] || strings.Contains(refusal, cause)
			continue
		}
		for _, field := range podFields.FindAllString(refusal, -1) {
			found[feature] = found[feature] || strings.HasSuffix(field, cause) || strings.Contains(field, cause+".")
		}
	}
	maps.DeleteFunc(found, func(_ string, needed bool) bool { return !needed })
	return slices.Sorted(maps.Keys(found))
}

func enable(features []string) string {
	var data []string
	for _, feature := range features {
		data = append(data, fmt.Sprintf("%q:\"enabled\"", feature))
	}
	return fmt.Sprintf(`kubectl patch configmap -n knative-serving config-features --type merge -p '{"data":{%s}}'`, strings.Join(data, ","))
}
