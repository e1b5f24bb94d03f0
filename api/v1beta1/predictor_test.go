// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/randfill"
)

func TestServedModel(t *testing.T) {
	uri := "gs://bucket/model"
	grpc := ProtocolGRPCV2
	tests := map[string]struct {
		given string
		want  *ModelSpec
	}{
		"model is taken as it is": {
			given: `{"model": {"modelFormat": {"name": "sklearn", "version": "1"}, "storageUri": "gs://bucket/model"}}`,
			want: &ModelSpec{
				ModelFormat:            ModelFormat{Name: "sklearn", Version: new("1")},
				PredictorExtensionSpec: PredictorExtensionSpec{StorageURI: &uri},
			},
		},
		"a framework field stands for a model of its format": {
			given: `{"sklearn": {"storageUri": "gs://bucket/model", "args": ["--workers=2"]}}`,
			want: &ModelSpec{
				ModelFormat: ModelFormat{Name: "sklearn"},
				PredictorExtensionSpec: PredictorExtensionSpec{
					StorageURI: &uri,
					Container:  corev1.Container{Args: []string{"--workers=2"}},
				},
			},
		},
		"triton speaks v2 unless the user says otherwise": {
			given: `{"triton": {"storageUri": "gs://bucket/model"}}`,
			want: &ModelSpec{
				ModelFormat:            ModelFormat{Name: "triton"},
				PredictorExtensionSpec: PredictorExtensionSpec{StorageURI: &uri, ProtocolVersion: new(ProtocolV2)},
			},
		},
		"a protocol that the user names stays": {
			given: `{"onnx": {"storageUri": "gs://bucket/model", "protocolVersion": "grpc-v2"}}`,
			want: &ModelSpec{
				ModelFormat:            ModelFormat{Name: "onnx"},
				PredictorExtensionSpec: PredictorExtensionSpec{StorageURI: &uri, ProtocolVersion: &grpc},
			},
		},
		"containers of the user's own are no model": {
			given: `{"containers": [{"name": "kserve-container", "image": "example.com/server:1"}]}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var spec PredictorSpec
			mustUnmarshal(t, test.given, &spec)
			if diff := cmp.Diff(test.want, spec.ServedModel()); diff != "" {
				t.Errorf("ServedModel() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServedModelLeavesTheSpecAlone(t *testing.T) {
	var spec PredictorSpec
	mustUnmarshal(t, `{"triton": {"storageUri": "gs://bucket/model"}}`, &spec)
	before := spec.DeepCopy()
	spec.ServedModel()
	if diff := cmp.Diff(before, &spec); diff != "" {
		t.Errorf("ServedModel() changed the spec (-before +after):\n%s", diff)
	}
}

func TestEveryFrameworkFieldStandsForAModel(t *testing.T) {
	extension := reflect.TypeFor[*PredictorExtensionSpec]()
	for field := range reflect.TypeFor[PredictorSpec]().Fields() {
		if field.Type != extension {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		t.Run(name, func(t *testing.T) {
			var spec PredictorSpec
			mustUnmarshal(t, `{"`+name+`": {"storageUri": "gs://bucket/model"}}`, &spec)
			model := spec.ServedModel()
			if model == nil {
				t.Fatal("ServedModel() = nil")
			}
			if model.ModelFormat.Name != name {
				t.Errorf("model format = %q, want %q", model.ModelFormat.Name, name)
			}
		})
	}
}

func TestAsCoreCarriesEveryField(t *testing.T) {
	filler := randfill.NewWithSeed(1).NilChance(0).NumElements(1, 1).MaxDepth(4)
	var spec PodSpec
	filler.Fill(&spec)
	spec.ActiveDeadlineSeconds = nil // Refused, and so not carried.
	spec.EphemeralContainers = nil

	if diff := cmp.Diff(jsonFields(t, &spec), jsonFields(t, spec.AsCore())); diff != "" {
		t.Errorf("AsCore() (-PodSpec +corev1.PodSpec):\n%s", diff)
	}
}

func TestUnsupportedFields(t *testing.T) {
	tests := map[string]struct {
		given string
		want  []string
	}{
		"a plain model": {
			given: `{"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://bucket/model"}}}`,
		},
		"everything that KServe has and Serinus has not": {
			given: `{
				"transformer": {"containers": []}, "explainer": {}, "canary": [{"trafficPercent": 10}],
				"predictor": {
					"workerSpec": {}, "storageUris": [{"uri": "gs://b/m"}], "storageContainerName": "fetch", "name": "v2",
					"activeDeadlineSeconds": 1, "ephemeralContainers": [{"name": "debug"}], "scaleMetricType": "Utilization",
					"autoScaling": {}, "logger": {}, "batcher": {},
					"model": {"modelFormat": {"name": "sklearn"}, "confidential": {"enabled": true}, "storage": {"schemaPath": "schema.json"}}
				}
			}`,
			want: []string{
				"spec.transformer", "spec.explainer", "spec.canary",
				"spec.predictor.workerSpec", "spec.predictor.storageUris", "spec.predictor.storageContainerName", "spec.predictor.name",
				"spec.predictor.activeDeadlineSeconds", "spec.predictor.ephemeralContainers", "spec.predictor.scaleMetricType",
				"spec.predictor.autoScaling", "spec.predictor.logger", "spec.predictor.batcher",
				"spec.predictor.model.confidential", "spec.predictor.model.storage.schemaPath",
			},
		},
		"a framework field": {
			given: `{"predictor": {"xgboost": {"confidential": {"enabled": false}}}}`,
			want:  []string{"spec.predictor.xgboost.confidential"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var spec InferenceServiceSpec
			mustUnmarshal(t, test.given, &spec)
			if diff := cmp.Diff(test.want, spec.UnsupportedFields()); diff != "" {
				t.Errorf("UnsupportedFields() (-want +got):\n%s", diff)
			}
		})
	}
}

func mustUnmarshal(t *testing.T, given string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(given), into); err != nil {
		t.Fatalf("decoding %s: %v", given, err)
	}
}

func jsonFields(t *testing.T, value any) map[string]any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	var fields map[string]any
	mustUnmarshal(t, string(text), &fields)
	return fields
}
