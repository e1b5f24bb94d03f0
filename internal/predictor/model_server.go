// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// serverType is a kind of model server that needs settings that its runtime cannot express.
type serverType string

const (
	mlServer          serverType = "mlserver"
	triton            serverType = "tritonserver"
	torchServe        serverType = "torchserve"
	tensorflowServing serverType = "tensorflow-serving"
	huggingFaceServer serverType = "huggingfaceserver"
	vllmServer        serverType = "vllmserver"
)

// serverTypeByRuntime holds the server types of KServe's runtimes, for runtimes without the
// annotation.
var serverTypeByRuntime = map[string]serverType{
	"kserve-mlserver":           mlServer,
	"kserve-tritonserver":       triton,
	"kserve-torchserve":         torchServe,
	"kserve-tensorflow-serving": tensorflowServing,
	"kserve-huggingfaceserver":  huggingFaceServer,
	"kserve-vllmserver":         vllmServer,
}

func (r *runtime) serverType() serverType {
	if named := r.annotations[annotationServerType]; named != "" {
		return serverType(named)
	}
	return serverTypeByRuntime[r.ref.Name]
}

var mlServerClasses = map[string]string{
	"sklearn":  "mlserver_sklearn.SKLearnModel",
	"xgboost":  "mlserver_xgboost.XGBoostModel",
	"lightgbm": "mlserver_lightgbm.LightGBMModel",
	"mlflow":   "mlserver_mlflow.MLflowRuntime",
}

// serverDefaults returns the model's container with the defaults for its type of server, and the
// values for the placeholders in its runtime.
func (r *Resolved) serverDefaults() (corev1.Container, placeholders) {
	container := *r.spec.Model.Container.DeepCopy()
	values := r.placeholders()
	add := func(name, value string) {
		container.Env = addVariable(container.Env, corev1.EnvVar{Name: name, Value: value})
	}
	hasModel := r.spec.Model.StorageURI != nil || r.spec.Model.Storage != nil

	switch r.runtime.serverType() {
	case mlServer:
		class, ok := mlServerClasses[r.spec.Model.ModelFormat.Name]
		if !ok {
			class = mlServerClasses["sklearn"]
		}
		values.Labels["modelClass"] = class
		if hasModel {
			add("MLSERVER_MODEL_NAME", r.name)
			add("MLSERVER_MODEL_URI", modelPath)
		} else {
			add("MLSERVER_LOAD_MODELS_AT_STARTUP", "false")
		}
	case triton:
		if !hasModel {
			container.Args = append(container.Args, "--model-control-mode=explicit")
		}
	case torchServe:
		protocol := protocolOrV1(r.spec.Model)
		values.Labels["serviceEnvelope"] = "kserve"
		if protocol == v1beta1.ProtocolV2 || protocol == v1beta1.ProtocolGRPCV2 {
			values.Labels["serviceEnvelope"] = "kservev2"
		}
		add("PROTOCOL_VERSION", string(protocol))
	case tensorflowServing, huggingFaceServer, vllmServer:
		// Only their images depend on the type.
	}
	return container, values
}

// image rejects a runtimeVersion if the image is pinned by a digest: a tag would have no effect.
func (r *Resolved) image(container corev1.Container) (string, *Error) {
	runtimeVersion := r.spec.Model.RuntimeVersion
	if !strings.Contains(container.Image, "@") {
		return imageFor(container, runtimeVersion, r.runtime.serverType()), nil
	}
	if runtimeVersion != nil {
		return "", invalid(modelField+".runtimeVersion", "%q cannot be applied: the image %s is pinned by a digest; "+
			"remove runtimeVersion, or name the image by a tag in %s or in model.image", *runtimeVersion, container.Image, r.runtime)
	}
	return container.Image, nil
}

func imageFor(container corev1.Container, runtimeVersion *string, server serverType) string {
	repository, tag := splitImage(container.Image)
	if runtimeVersion != nil {
		return repository + ":" + *runtimeVersion
	}
	if tag == "" {
		return container.Image
	}
	switch server {
	case tensorflowServing, torchServe, huggingFaceServer:
		if requestsGPU(container) && !strings.HasSuffix(tag, "-gpu") {
			return repository + ":" + tag + "-gpu"
		}
	case vllmServer:
		// The image is for GPUs. The build for CPUs has its own repository.
		if !requestsGPU(container) && !strings.HasSuffix(repository, "-cpu") {
			return repository + "-cpu:" + tag
		}
	case mlServer, triton:
		// One image supports all hardware.
	}
	return container.Image
}

// splitImage splits off the tag. A colon before the last slash belongs to the registry's port.
func splitImage(image string) (repository, tag string) {
	colon := strings.LastIndex(image, ":")
	if colon <= strings.LastIndex(image, "/") {
		return image, ""
	}
	return image[:colon], image[colon+1:]
}

// requestsGPU reports whether a container requests an NVIDIA GPU, for which the images are built.
func requestsGPU(container corev1.Container) bool {
	return slices.ContainsFunc(limitNames(container), func(name string) bool {
		return name == "nvidia.com/gpu" || strings.HasPrefix(name, "nvidia.com/mig")
	})
}

func limitNames(container corev1.Container) []string {
	var names []string
	for name := range container.Resources.Limits {
		names = append(names, string(name))
	}
	return names
}
