// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"strings"
	"testing"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestUnsupported(t *testing.T) {
	tests := map[string]struct {
		given     v1beta1.InferenceService
		wantField string
	}{
		"scaling by concurrency": {
			given:     withSpec(v1beta1.ComponentExtensionSpec{ScaleMetric: new(v1beta1.MetricConcurrency)}),
			wantField: "spec.predictor.scaleMetric",
		},
		"scaling by requests per second": {
			given:     withSpec(v1beta1.ComponentExtensionSpec{ScaleMetric: new(v1beta1.MetricRPS)}),
			wantField: "spec.predictor.scaleMetric",
		},
		"scaling by concurrency, in KServe's older way": {
			given:     withAnnotation(v1beta1.AnnotationMetrics, "concurrency"),
			wantField: "metadata.annotations[serving.kserve.io/metrics]",
		},
		"a limit of requests": {
			given:     withSpec(v1beta1.ComponentExtensionSpec{ContainerConcurrency: new(int64(4))}),
			wantField: "spec.predictor.containerConcurrency",
		},
		"no limit of requests": {given: withSpec(v1beta1.ComponentExtensionSpec{ContainerConcurrency: new(int64(0))})},
		"scaling by memory":    {given: withSpec(v1beta1.ComponentExtensionSpec{ScaleMetric: new(v1beta1.MetricMemory)})},
		"nothing":              {},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			field, message := (&Backend{}).Unsupported(&test.given)
			if field != test.wantField {
				t.Errorf("field is %q, want %q", field, test.wantField)
			}
			if (message == "") != (field == "") {
				t.Errorf("field is %q, and message %q", field, message)
			}
			const elsewhere = "Knative mode takes it: create an InferenceService of another name with the annotation serving.kserve.io/deploymentMode: Knative"
			if field != "" && !strings.HasSuffix(message, elsewhere) {
				t.Errorf("message %q does not say that Knative mode takes it", message)
			}
		})
	}
}

func withSpec(spec v1beta1.ComponentExtensionSpec) v1beta1.InferenceService {
	var isvc v1beta1.InferenceService
	isvc.Spec.Predictor.ComponentExtensionSpec = spec
	return isvc
}

func withAnnotation(key, value string) v1beta1.InferenceService {
	var isvc v1beta1.InferenceService
	isvc.Annotations = map[string]string{key: value}
	return isvc
}
