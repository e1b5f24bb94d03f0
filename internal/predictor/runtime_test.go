// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

func serving(t *testing.T, name, spec string) *v1alpha1.ClusterServingRuntime {
	t.Helper()
	return runtimeFrom(t, name, "containers: [{name: kserve-container, image: x}]\n"+spec)
}

func TestRuntimeSelection(t *testing.T) {
	const serves = "supportedModelFormats: [{name: sklearn, autoSelect: true}]"
	created := func(runtime *v1alpha1.ClusterServingRuntime, second int64) *v1alpha1.ClusterServingRuntime {
		runtime.CreationTimestamp = metav1.Unix(second, 0)
		return runtime
	}
	cases := map[string]struct {
		model    string
		runtimes Runtimes
		want     RuntimeRef
	}{
		"by the name of the format": {
			"{modelFormat: {name: sklearn}}",
			cluster(serving(t, "a", "supportedModelFormats: [{name: xgboost, autoSelect: true}]"), serving(t, "b", serves)),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"by the version of the format": {
			"{modelFormat: {name: sklearn, version: \"2\"}}",
			cluster(
				serving(t, "a", `supportedModelFormats: [{name: sklearn, version: "1", autoSelect: true}]`),
				serving(t, "b", `supportedModelFormats: [{name: sklearn, version: "1", autoSelect: true}, {name: sklearn, version: "2", autoSelect: true}]`),
			),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"any version if the model has none": {
			"{modelFormat: {name: sklearn}}",
			cluster(serving(t, "a", `supportedModelFormats: [{name: sklearn, version: "1", autoSelect: true}]`)),
			RuntimeRef{ClusterServingRuntimeKind, "a"},
		},
		"namespace before cluster, regardless of priority": {
			"{modelFormat: {name: sklearn}}",
			Runtimes{
				Cluster:    []*v1alpha1.ClusterServingRuntime{serving(t, "a", "supportedModelFormats: [{name: sklearn, autoSelect: true, priority: 9}]")},
				Namespaced: []*v1alpha1.ServingRuntime{namespaced(serving(t, "b", serves))},
			},
			RuntimeRef{ServingRuntimeKind, "b"},
		},
		"by priority": {
			"{modelFormat: {name: sklearn}}",
			cluster(
				serving(t, "a", "supportedModelFormats: [{name: sklearn, autoSelect: true, priority: 1}]"),
				serving(t, "b", "supportedModelFormats: [{name: sklearn, autoSelect: true, priority: 2}]"),
				serving(t, "c", serves),
			),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"any priority before none": {
			"{modelFormat: {name: sklearn}}",
			cluster(serving(t, "a", serves), serving(t, "b", "supportedModelFormats: [{name: sklearn, autoSelect: true, priority: 1}]")),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"priority of the requested format": {
			"{modelFormat: {name: sklearn}}",
			cluster(
				serving(t, "a", "supportedModelFormats: [{name: xgboost, autoSelect: true, priority: 9}, {name: sklearn, autoSelect: true, priority: 1}]"),
				serving(t, "b", "supportedModelFormats: [{name: sklearn, autoSelect: true, priority: 2}]"),
			),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"tie: lowest protocol": {
			"{modelFormat: {name: sklearn}, protocolVersion: v2}",
			cluster(serving(t, "a", serves+"\nprotocolVersions: [grpc-v2, v2]"), serving(t, "b", serves+"\nprotocolVersions: [v2, v1]")),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"listed protocols before none": {
			"{modelFormat: {name: sklearn}}",
			cluster(serving(t, "a", serves), serving(t, "b", serves+"\nprotocolVersions: [v1]")),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"tie: newest": {
			"{modelFormat: {name: sklearn}}",
			cluster(created(serving(t, "a", serves), 1), created(serving(t, "b", serves), 2)),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"tie: name": {
			"{modelFormat: {name: sklearn}}",
			cluster(serving(t, "b", serves), serving(t, "a", serves)),
			RuntimeRef{ClusterServingRuntimeKind, "a"},
		},
		"protocol v1 by default": {
			"{modelFormat: {name: sklearn}}",
			cluster(serving(t, "a", serves+"\nprotocolVersions: [v2]"), serving(t, "b", serves+"\nprotocolVersions: [v1]")),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"protocol v2 by default for Triton": {
			"{modelFormat: {name: triton}}",
			cluster(
				serving(t, "a", "supportedModelFormats: [{name: triton, autoSelect: true}]\nprotocolVersions: [v1]"),
				serving(t, "b", "supportedModelFormats: [{name: triton, autoSelect: true}]\nprotocolVersions: [v2]"),
			),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"not disabled": {
			"{modelFormat: {name: sklearn}}",
			cluster(serving(t, "a", serves+"\ndisabled: true"), serving(t, "b", serves)),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"not multiModel": {
			"{modelFormat: {name: sklearn}}",
			cluster(serving(t, "a", serves+"\nmultiModel: true"), serving(t, "b", serves+"\nmultiModel: false")),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"not workerSpec": {
			"{modelFormat: {name: sklearn}}",
			cluster(serving(t, "a", serves+"\nworkerSpec: {}"), serving(t, "b", serves)),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"not without autoSelect": {
			"{modelFormat: {name: sklearn}}",
			cluster(serving(t, "a", "supportedModelFormats: [{name: sklearn}]"), serving(t, "b", serves)),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"not a version without autoSelect": {
			"{modelFormat: {name: sklearn, version: \"1\"}}",
			cluster(
				serving(t, "a", `supportedModelFormats: [{name: sklearn, version: "1"}, {name: sklearn, version: "2", autoSelect: true}]`),
				serving(t, "b", `supportedModelFormats: [{name: sklearn, version: "1", autoSelect: true}]`),
			),
			RuntimeRef{ClusterServingRuntimeKind, "b"},
		},
		"requested": {
			"{modelFormat: {name: sklearn}, runtime: a}",
			cluster(serving(t, "a", "supportedModelFormats: [{name: sklearn}]"), serving(t, "b", serves)),
			RuntimeRef{ClusterServingRuntimeKind, "a"},
		},
		"requested, in namespace and cluster": {
			"{modelFormat: {name: sklearn}, runtime: a}",
			Runtimes{
				Cluster:    []*v1alpha1.ClusterServingRuntime{serving(t, "a", serves)},
				Namespaced: []*v1alpha1.ServingRuntime{namespaced(serving(t, "a", serves))},
			},
			RuntimeRef{ServingRuntimeKind, "a"},
		},
		"requested, without a protocol in the spec": {
			"{modelFormat: {name: sklearn}, runtime: a}",
			cluster(serving(t, "a", serves+"\nprotocolVersions: [v2]")),
			RuntimeRef{ClusterServingRuntimeKind, "a"},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			resolved := resolve(t, isvcFrom(t, "model: "+test.model), test.runtimes)
			if resolved.Runtime != test.want {
				t.Errorf("got %v, want %v", resolved.Runtime, test.want)
			}
		})
	}
}

func TestRuntimeIsRejected(t *testing.T) {
	mlserver := serving(t, "mlserver", `
supportedModelFormats: [{name: sklearn, version: "1", autoSelect: true}, {name: mlflow, version: "1", autoSelect: true}]
protocolVersions: [v2]`)
	sklearn := serving(t, "sklearnserver", `
supportedModelFormats: [{name: sklearn, version: "0", autoSelect: true}, {name: sklearn, version: "1", autoSelect: true}]
protocolVersions: [v1, v2]`)
	unversioned := serving(t, "unversioned", "supportedModelFormats: [{name: sklearn, autoSelect: true}]")
	manual := serving(t, "manual", "supportedModelFormats: [{name: sklearn}]")
	disabled := serving(t, "disabled", "supportedModelFormats: [{name: sklearn, autoSelect: true}]\ndisabled: true")
	several := serving(t, "several", "supportedModelFormats: [{name: sklearn, autoSelect: true}]\nmultiModel: true")
	spread := serving(t, "spread", "supportedModelFormats: [{name: sklearn, autoSelect: true}]\nworkerSpec: {}")
	xgboost := serving(t, "xgbserver", "supportedModelFormats: [{name: xgboost, autoSelect: true}]")

	const format, runtime = "spec.predictor.model.modelFormat", "spec.predictor.model.runtime"
	cases := map[string]struct {
		model    string
		runtimes Runtimes
		want     Error
	}{
		"no runtimes": {
			"{modelFormat: {name: sklearn}}",
			Runtimes{},
			Error{Reason: v1beta1.NoSupportingRuntime, Field: format, Message: `no serving runtime serves format "sklearn" with protocol v1 (protocolVersion is not set): ` +
				"there is neither a ServingRuntime in namespace models nor a ClusterServingRuntime; install one"},
		},
		"unknown format": {
			"{modelFormat: {name: sklaern}}",
			cluster(xgboost, mlserver),
			Error{Reason: v1beta1.NoSupportingRuntime, Field: format, Message: `no serving runtime serves format "sklaern" with protocol v1 (protocolVersion is not set): ` +
				"mlserver and xgbserver serve other formats; write mlflow, sklearn or xgboost in modelFormat.name, or install a serving runtime for sklaern"},
		},
		"wrong case": {
			"{modelFormat: {name: MLflow}}",
			cluster(xgboost, mlserver),
			Error{Reason: v1beta1.NoSupportingRuntime, Field: format, Message: `no serving runtime serves format "MLflow" with protocol v1 (protocolVersion is not set): ` +
				`ClusterServingRuntime "mlserver" does not serve MLflow, but mlflow (write modelFormat.name: mlflow); xgbserver: other formats`},
		},
		"requested, wrong case": {
			"{modelFormat: {name: MLflow}, runtime: mlserver}",
			cluster(xgboost, mlserver),
			Error{Reason: v1beta1.NoSupportingRuntime, Field: format + ".name", Message: `ClusterServingRuntime "mlserver" does not serve MLflow, but mlflow; write modelFormat.name: mlflow`},
		},
		"every reason": {
			"{modelFormat: {name: sklearn, version: \"9\"}, protocolVersion: grpc-v2}",
			cluster(mlserver, sklearn, unversioned, manual, disabled, several, spread, xgboost),
			Error{Reason: v1beta1.NoSupportingRuntime, Field: format, Message: `no serving runtime serves format "sklearn" version "9" with protocol grpc-v2: ` +
				`ClusterServingRuntime "sklearnserver" serves sklearn in version "0" or "1", not in "9" (write that in modelFormat.version); ` +
				`ClusterServingRuntime "mlserver" serves sklearn in version "1", not in "9" (write that in modelFormat.version); ` +
				`ClusterServingRuntime "disabled" is disabled (have it enabled); ` +
				`ClusterServingRuntime "manual" lists sklearn without autoSelect: true (write model.runtime: manual); ` +
				`ClusterServingRuntime "several" is for several models at a time (multiModel), which is not supported (use another); ` +
				`ClusterServingRuntime "spread" spreads a model over several nodes (workerSpec), which is not supported (use another); ` +
				`ClusterServingRuntime "unversioned" serves sklearn without naming a version (remove modelFormat.version); ` +
				"xgbserver: other formats"},
		},
		"protocol": {
			"{modelFormat: {name: mlflow}}",
			cluster(mlserver),
			Error{Reason: v1beta1.NoSupportingRuntime, Field: format, Message: `no serving runtime serves format "mlflow" with protocol v1 (protocolVersion is not set): ` +
				`ClusterServingRuntime "mlserver" speaks v2, not v1 (write model.protocolVersion: v2)`},
		},
		"requested, missing": {
			"{modelFormat: {name: sklearn}, runtime: sklearnsrv}",
			cluster(mlserver, sklearn),
			Error{Reason: v1beta1.RuntimeNotRecognized, Field: runtime, Message: `"sklearnsrv" is neither a ServingRuntime in namespace models nor a ClusterServingRuntime; ` +
				"write mlserver or sklearnserver, or remove the field to have a runtime picked"},
		},
		"requested, no runtimes": {
			"{modelFormat: {name: sklearn}, runtime: sklearnserver}",
			Runtimes{},
			Error{Reason: v1beta1.RuntimeNotRecognized, Field: runtime, Message: `"sklearnserver" is neither a ServingRuntime in namespace models nor a ClusterServingRuntime; ` +
				"there are no serving runtimes at all; install one"},
		},
		"requested, disabled": {
			"{modelFormat: {name: sklearn}, runtime: disabled}",
			cluster(disabled, sklearn),
			Error{Reason: v1beta1.RuntimeDisabled, Field: runtime, Message: `ClusterServingRuntime "disabled" is disabled; have it enabled, or remove the field to have a runtime picked`},
		},
		"requested, disabled in the namespace": {
			"{modelFormat: {name: sklearn}, runtime: disabled}",
			Runtimes{
				Namespaced: []*v1alpha1.ServingRuntime{namespaced(disabled)},
				Cluster:    []*v1alpha1.ClusterServingRuntime{serving(t, "disabled", "supportedModelFormats: [{name: sklearn}]")},
			},
			Error{Reason: v1beta1.RuntimeDisabled, Field: runtime, Message: `ServingRuntime "disabled" is disabled; have it enabled, or remove the field to have a runtime picked`},
		},
		"requested, other format": {
			"{modelFormat: {name: sklearn}, runtime: xgbserver}",
			cluster(xgboost),
			Error{Reason: v1beta1.NoSupportingRuntime, Field: runtime, Message: `ClusterServingRuntime "xgbserver" does not serve sklearn, but xgboost; name a runtime that serves it, or remove the field to have a runtime picked`},
		},
		"requested, wrong case, no other runtime": {
			"{modelFormat: {name: SKLearn}, runtime: sklearnserver}",
			cluster(sklearn),
			Error{
				Reason: v1beta1.NoSupportingRuntime, Field: "spec.predictor.model.modelFormat.name",
				Message: `ClusterServingRuntime "sklearnserver" does not serve SKLearn, but sklearn; write modelFormat.name: sklearn`,
			},
		},
		"requested, other version": {
			"{modelFormat: {name: sklearn, version: \"2\"}, runtime: sklearnserver}",
			cluster(sklearn),
			Error{Reason: v1beta1.NoSupportingRuntime, Field: runtime, Message: `ClusterServingRuntime "sklearnserver" serves sklearn in version "0" or "1", not in "2"; ` +
				"write that in modelFormat.version, or remove the field to have a runtime picked"},
		},
		"requested, other protocol": {
			"{modelFormat: {name: sklearn}, runtime: mlserver, protocolVersion: v1}",
			cluster(mlserver),
			Error{Reason: v1beta1.NoSupportingRuntime, Field: runtime, Message: `ClusterServingRuntime "mlserver" speaks v2, not v1; ` +
				"write model.protocolVersion: v2, or remove the field to have a runtime picked"},
		},
		"requested, multiModel": {
			"{modelFormat: {name: sklearn}, runtime: several}",
			cluster(several),
			Error{Reason: v1beta1.NoSupportingRuntime, Field: runtime, Message: `ClusterServingRuntime "several" is for several models at a time (multiModel), which is not supported; ` +
				"use another, or remove the field to have a runtime picked"},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Resolve(isvcFrom(t, "model: "+test.model), test.runtimes, defaultSettings())
			wantError(t, err, test.want)
		})
	}
}

func wantError(t *testing.T, err error, want Error) {
	t.Helper()
	var got *Error
	if !errors.As(err, &got) {
		t.Fatalf("got error %v of type %T, want %v", err, err, &want)
	}
	if *got != want {
		t.Errorf("got\n%s %s: %s (in a secret: %t)\nwant\n%s %s: %s (in a secret: %t)",
			got.Reason, got.Field, got.Message, got.InSecret, want.Reason, want.Field, want.Message, want.InSecret)
	}
}
