// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// MaxNameLength is the length of the longest name that an InferenceService can
// have. latest-<name>-predictor and <name>-predictor-100000 are names of
// Services, values of labels and labels of host names, which end at 63.
const MaxNameLength = 46

// AsCore is the same pod in Kubernetes' own type. The result shares memory with
// the spec.
func (s *PodSpec) AsCore() corev1.PodSpec {
	return corev1.PodSpec{
		Containers:                    s.Containers,
		InitContainers:                s.InitContainers,
		Volumes:                       s.Volumes,
		NodeSelector:                  s.NodeSelector,
		Affinity:                      s.Affinity,
		Tolerations:                   s.Tolerations,
		TopologySpreadConstraints:     s.TopologySpreadConstraints,
		ServiceAccountName:            s.ServiceAccountName,
		DeprecatedServiceAccount:      s.DeprecatedServiceAccount,
		AutomountServiceAccountToken:  s.AutomountServiceAccountToken,
		ImagePullSecrets:              s.ImagePullSecrets,
		SecurityContext:               s.SecurityContext,
		PriorityClassName:             s.PriorityClassName,
		Priority:                      s.Priority,
		PreemptionPolicy:              s.PreemptionPolicy,
		RuntimeClassName:              s.RuntimeClassName,
		SchedulerName:                 s.SchedulerName,
		SchedulingGates:               s.SchedulingGates,
		ResourceClaims:                s.ResourceClaims,
		Resources:                     s.Resources,
		TerminationGracePeriodSeconds: s.TerminationGracePeriodSeconds,
		ReadinessGates:                s.ReadinessGates,
		RestartPolicy:                 s.RestartPolicy,
		DNSPolicy:                     s.DNSPolicy,
		DNSConfig:                     s.DNSConfig,
		HostAliases:                   s.HostAliases,
		Hostname:                      s.Hostname,
		Subdomain:                     s.Subdomain,
		HostnameOverride:              s.HostnameOverride,
		SetHostnameAsFQDN:             s.SetHostnameAsFQDN,
		EnableServiceLinks:            s.EnableServiceLinks,
		NodeName:                      s.NodeName,
		HostNetwork:                   s.HostNetwork,
		HostPID:                       s.HostPID,
		HostIPC:                       s.HostIPC,
		HostUsers:                     s.HostUsers,
		ShareProcessNamespace:         s.ShareProcessNamespace,
		Overhead:                      s.Overhead,
		OS:                            s.OS,
	}
}

// UnsupportedFields names the fields of the spec that Serinus does not act on.
// The API server refuses them, but an object that was stored under KServe's CRD
// can still hold them. The names are sorted.
func (s *InferenceServiceSpec) UnsupportedFields() []string {
	predictor := &s.Predictor
	fields := []unsupportedField{
		{"spec.transformer", s.Transformer != nil},
		{"spec.explainer", s.Explainer != nil},
		{"spec.canary", len(s.Canary) > 0},
		{"spec.predictor.workerSpec", predictor.WorkerSpec != nil},
		{"spec.predictor.storageUris", len(predictor.StorageUris) > 0},
		{"spec.predictor.storageContainerName", isSet(predictor.StorageContainerName)},
		{"spec.predictor.name", predictor.Name != ""},
		{"spec.predictor.activeDeadlineSeconds", predictor.ActiveDeadlineSeconds != nil},
		{"spec.predictor.ephemeralContainers", len(predictor.EphemeralContainers) > 0},
		{"spec.predictor.scaleMetricType", isSet(predictor.ScaleMetricType)},
		{"spec.predictor.autoScaling", predictor.AutoScaling != nil},
		{"spec.predictor.logger", predictor.Logger != nil},
		{"spec.predictor.batcher", predictor.Batcher != nil},
	}
	if predictor.Model != nil {
		fields = append(fields, predictor.Model.unsupportedFields("spec.predictor.model")...)
	}
	for name, framework := range predictor.frameworks() {
		if framework != nil {
			fields = append(fields, framework.unsupportedFields("spec.predictor."+name)...)
		}
	}
	return namesOfSet(fields)
}

// frameworks are the fields that are KServe's older way to write model.
func (s *PredictorSpec) frameworks() map[string]*PredictorExtensionSpec {
	return map[string]*PredictorExtensionSpec{
		"sklearn":     s.SKLearn,
		"xgboost":     s.XGBoost,
		"tensorflow":  s.Tensorflow,
		"pytorch":     s.PyTorch,
		"triton":      s.Triton,
		"onnx":        s.ONNX,
		"huggingface": s.HuggingFace,
		"pmml":        s.PMML,
		"lightgbm":    s.LightGBM,
		"paddle":      s.Paddle,
	}
}

func (s *PredictorExtensionSpec) unsupportedFields(path string) []unsupportedField {
	return []unsupportedField{
		{path + ".confidential", s.Confidential != nil},
		{path + ".storage.schemaPath", s.Storage != nil && isSet(s.Storage.SchemaPath)},
	}
}

type unsupportedField struct {
	path string
	set  bool
}

func namesOfSet(fields []unsupportedField) []string {
	var names []string
	for _, field := range fields {
		if field.set {
			names = append(names, field.path)
		}
	}
	slices.Sort(names)
	return names
}

func isSet(value *string) bool {
	return value != nil && *value != ""
}
