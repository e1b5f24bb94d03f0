// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	corev1 "k8s.io/api/core/v1"
)

// MaxNameLength is the length of the longest name that an InferenceService can
// have. latest-<name>-predictor and <name>-predictor-100000 are names of
// Services, values of labels and labels of host names, which end at 63.
const MaxNameLength = 46

// ServedModel is the model that the predictor serves: model itself, or the one
// that a framework field stands for. It is nil where the predictor brings
// containers of its own. The result shares memory with the spec.
func (s *PredictorSpec) ServedModel() *ModelSpec {
	if s.Model != nil {
		return s.Model
	}
	for _, framework := range s.frameworks() {
		if framework.spec == nil {
			continue
		}
		model := &ModelSpec{
			ModelFormat:            ModelFormat{Name: framework.format},
			PredictorExtensionSpec: *framework.spec,
		}
		if model.ProtocolVersion == nil && framework.protocol != "" {
			model.ProtocolVersion = &framework.protocol
		}
		return model
	}
	return nil
}

// framework is one of KServe's older fields, which name the model format.
type framework struct {
	format   string
	spec     *PredictorExtensionSpec
	protocol ProtocolVersion // Where the user names none and it is not v1.
}

func (s *PredictorSpec) frameworks() []framework {
	return []framework{
		{format: "sklearn", spec: s.SKLearn},
		{format: "xgboost", spec: s.XGBoost},
		{format: "tensorflow", spec: s.Tensorflow},
		{format: "pytorch", spec: s.PyTorch},
		{format: "triton", spec: s.Triton, protocol: ProtocolV2},
		{format: "onnx", spec: s.ONNX, protocol: ProtocolV2},
		{format: "huggingface", spec: s.HuggingFace, protocol: ProtocolV2},
		{format: "pmml", spec: s.PMML},
		{format: "lightgbm", spec: s.LightGBM},
		{format: "paddle", spec: s.Paddle},
	}
}

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
// can still hold them.
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
	for _, framework := range predictor.frameworks() {
		if framework.spec != nil {
			fields = append(fields, framework.spec.unsupportedFields("spec.predictor."+framework.format)...)
		}
	}
	return namesOfSet(fields)
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
	return names
}

func isSet(value *string) bool {
	return value != nil && *value != ""
}
