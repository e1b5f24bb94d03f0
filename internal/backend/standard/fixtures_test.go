// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// The InferenceService of the tests.
const (
	isvcName  = testkit.Name
	namespace = testkit.Namespace
)

type change[T any] func(*T)

func changed[T any](object T, changes []change[T]) T {
	for _, change := range changes {
		change(&object)
	}
	return object
}

// newRevision returns a rendered revision with one downloaded model and one container.
func newRevision(changes ...change[backend.RenderedRevision]) backend.RenderedRevision {
	quantities := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("1.5Gi"),
	}
	mount := corev1.VolumeMount{Name: "model", MountPath: "/mnt/models"}
	return changed(backend.RenderedRevision{
		Hash: "0123456789abcdef",
		Runs: predictor.Revision{
			Identity: predictor.Identity{Predictor: "fedcba9876543210"},
			Runtime:  predictor.RuntimeRef{Kind: predictor.ClusterServingRuntimeKind, Name: "kserve-sklearnserver"},
			Port:     8080,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels: map[string]string{
						"team": "iris", v1beta1.LabelInferenceService: isvcName,
						v1beta1.LabelComponent: "predictor", v1beta1.LabelManagedBy: v1beta1.ManagedBySerinus,
					},
					Annotations: map[string]string{"owner": "botany"},
				},
				Spec: corev1.PodSpec{
					InitContainers: []corev1.Container{{
						Name: predictor.InitializerName, Image: "kserve/storage-initializer:v0.20.0",
						Args: []string{"gs://models/iris", "/mnt/models"}, VolumeMounts: []corev1.VolumeMount{mount},
					}},
					Containers: []corev1.Container{{
						Name: v1beta1.ServingContainerName, Image: "kserve/sklearnserver:v0.20.0",
						Args:         []string{"--model_name=sklearn-iris", "--http_port=8080"},
						Ports:        []corev1.ContainerPort{{ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
						Env:          []corev1.EnvVar{{Name: "INFERENCE_SERVICE_NAME", Value: isvcName}},
						Resources:    corev1.ResourceRequirements{Requests: quantities, Limits: quantities.DeepCopy()},
						VolumeMounts: []corev1.VolumeMount{mount},
					}},
					Volumes: []corev1.Volume{{Name: "model", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
				},
			},
		},
	}, changes)
}

func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range schemeParts {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

func newConfig(changes ...change[config.Config]) *config.Config {
	cfg := changed(*config.Default(), changes)
	return &cfg
}

func localGateway(cfg *config.Config) {
	cfg.Ingress.LocalGateway = &config.LocalGateway{
		Namespace: "kserve", Name: "kserve-local-gateway", SectionName: "http",
		Service: config.ServiceRef{Namespace: "kserve", Name: "kserve-local"},
	}
}

func requestTimeout(text gatewayv1.Duration) *gatewayv1.HTTPRouteTimeouts {
	return &gatewayv1.HTTPRouteTimeouts{Request: &text}
}

func split(t *testing.T, shares ...int) rollout.Split {
	t.Helper()
	var all []rollout.Share
	for i := 0; i < len(shares); i += 2 {
		all = append(all, rollout.Share{Revision: rollout.Number(shares[i]), Percent: shares[i+1]})
	}
	result, err := rollout.NewSplit(all...)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// encodeV1 encodes the rollout state of a settled, promoted revision as the first release did.
func encodeV1(state rollout.State) string {
	text, err := json.Marshal(map[string]any{
		"stable": state.Stable, "previous": state.Previous, "target": state.Target, "inputs": state.Hash,
		"split": state.Split, "before": state.ServedBefore, "shiftedAt": state.ShiftedAt, "highest": state.Highest,
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}
