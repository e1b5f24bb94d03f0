// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/randfill"
)

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
	type test struct {
		given string
		want  []string
	}
	tests := map[string]test{
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
				"spec.canary", "spec.explainer",
				"spec.predictor.activeDeadlineSeconds", "spec.predictor.autoScaling", "spec.predictor.batcher",
				"spec.predictor.ephemeralContainers", "spec.predictor.logger",
				"spec.predictor.model.confidential", "spec.predictor.model.storage.schemaPath",
				"spec.predictor.name", "spec.predictor.scaleMetricType", "spec.predictor.storageContainerName",
				"spec.predictor.storageUris", "spec.predictor.workerSpec",
				"spec.transformer",
			},
		},
	}
	for field := range reflect.TypeFor[PredictorSpec]().Fields() {
		if field.Type == reflect.TypeFor[*PredictorExtensionSpec]() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			tests["the framework field "+name] = test{
				given: `{"predictor": {"` + name + `": {"confidential": {"enabled": false}}}}`,
				want:  []string{"spec.predictor." + name + ".confidential"},
			}
		}
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
