// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"cmp"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serinus-io/serinus/api/v1beta1"
)

const (
	// An optional container that receives the requests instead of the serving container.
	transformerContainerName = "transformer-container"

	labelApp                = "app"
	envInferenceServiceName = "INFERENCE_SERVICE_NAME"
	gkeAcceleratorLabel     = "cloud.google.com/gke-accelerator"

	componentPredictor = "predictor"
)

// Render builds the revision's pods. Every error is an [*Error]. Render must not be called if
// [Resolve] returned an error.
func (r *Resolved) Render(credentials Credentials) (Revision, error) {
	template, err := r.template(credentials)
	if err != nil {
		return Revision{}, err
	}
	container := entryContainer(template.Spec.Containers)
	port := firstPort(*container)
	return Revision{
		Identity:             r.Identity,
		Runtime:              r.Runtime,
		Template:             template,
		Port:                 port.ContainerPort,
		AppProtocol:          appProtocol(port),
		AdditionalPorts:      additionalPorts(*container),
		TimeoutSeconds:       r.spec.TimeoutSeconds,
		ContainerConcurrency: r.spec.ContainerConcurrency,
	}, nil
}

// Pod returns the pod to which [Resolved.Render] adds the model and the defaults. If it fails,
// Render fails with any credentials. Only new revisions need this check: existing revisions keep
// the pods that an earlier version rendered.
func (r *Resolved) Pod() (corev1.PodSpec, error) {
	pod, err := r.pod()
	if err != nil {
		return pod, err
	}
	return pod, nil
}

func (r *Resolved) template(credentials Credentials) (corev1.PodTemplateSpec, *Error) {
	pod, err := r.pod()
	if err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	r.setContainerDefaults(&pod)
	r.selectAccelerator(&pod)
	if err := r.provideModel(&pod, credentials); err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	template := corev1.PodTemplateSpec{Spec: pod}
	template.Labels = r.podLabels()
	template.Annotations = r.podAnnotations(firstPort(*entryContainer(pod.Containers)).ContainerPort)
	return template, nil
}

func (r *Resolved) pod() (corev1.PodSpec, *Error) {
	pod, err := r.mergedPod()
	if err != nil {
		return pod, err
	}
	if r.settings.Mode == v1beta1.DeploymentModeKnative {
		return pod, r.limitToOnePort(pod.Containers)
	}
	return pod, r.checkPorts(*entryContainer(pod.Containers))
}

func (r *Resolved) mergedPod() (corev1.PodSpec, *Error) {
	if r.runtime == nil {
		podSpec := r.spec.PodSpec.DeepCopy()
		return podSpec.AsCore(), nil
	}
	spec := r.runtime.spec.ServingRuntimePodSpec
	pod, err := mergePods(corev1.PodSpec{
		Volumes:          spec.Volumes,
		NodeSelector:     spec.NodeSelector,
		Affinity:         spec.Affinity,
		Tolerations:      spec.Tolerations,
		ImagePullSecrets: spec.ImagePullSecrets,
		HostIPC:          spec.HostIPC,
		SchedulerName:    spec.SchedulerName,
		ResourceClaims:   spec.ResourceClaims,
	}, r.spec.PodSpec)
	if err != nil {
		return pod, err
	}
	pod.Containers, err = r.runtimeContainers()
	return pod, err
}

// runtimeContainers merges the containers of the predictor over those of the runtime with the same
// names. The serving container comes first, then the transformer, then the others. Placeholders are
// expanded in the runtime's containers only: text such as a chat template in the predictor may
// contain braces.
func (r *Resolved) runtimeContainers() ([]corev1.Container, *Error) {
	server, placeholders := r.serverDefaults()
	server.Name = v1beta1.ServingContainerName
	overlays := append([]corev1.Container{server}, r.spec.DeepCopy().Containers...)
	var containers []corev1.Container
	for _, container := range r.runtime.spec.Containers {
		container = *container.DeepCopy()
		if isServing(container) || isTransformer(container) {
			if err := r.expandPlaceholders(&container, placeholders); err != nil {
				return nil, err
			}
		}
		index := slices.IndexFunc(overlays, func(c corev1.Container) bool { return c.Name == container.Name })
		if index >= 0 {
			if r.settings.Mode == v1beta1.DeploymentModeKnative && len(overlays[index].Ports) > 0 {
				container.Ports = nil // Knative allows only one port.
			}
			merged, err := mergeContainers(container, overlays[index])
			if err != nil {
				return nil, err
			}
			container = merged
			overlays = slices.Delete(overlays, index, index+1)
		}
		containers = append(containers, container)
	}
	if !slices.ContainsFunc(containers, isServing) {
		return nil, invalid(modelField, "%s has no container %s; add it to the runtime, or use another",
			r.runtime, v1beta1.ServingContainerName)
	}
	containers = append(containers, overlays...)
	slices.SortStableFunc(containers, func(a, b corev1.Container) int { return cmp.Compare(containerOrder(a), containerOrder(b)) })
	image, err := r.image(containers[0])
	containers[0].Image = image
	return containers, err
}

func isTransformer(container corev1.Container) bool {
	return container.Name == transformerContainerName
}

func containerOrder(container corev1.Container) int {
	switch {
	case isServing(container):
		return 0
	case isTransformer(container):
		return 1
	default:
		return 2
	}
}

func (r *Resolved) setContainerDefaults(pod *corev1.PodSpec) {
	entry := entryContainer(pod.Containers)
	for i := range pod.Containers {
		container := &pod.Containers[i]
		container.Env = setVariable(container.Env, corev1.EnvVar{Name: envInferenceServiceName, Value: r.name})
		if !isServing(*container) && !isTransformer(*container) {
			continue
		}
		// Knative allows a readiness probe only on the container that receives the requests.
		if container.ReadinessProbe == nil && (container == entry || r.settings.Mode != v1beta1.DeploymentModeKnative) {
			container.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
				TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(firstPort(*container).ContainerPort)},
			}}
		}
		if container.TerminationMessagePolicy == "" {
			// The status of a failed model quotes the end of the log.
			container.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
		}
	}
	serving := &pod.Containers[0]
	serving.Resources = withDefaults(serving.Resources, r.settings.Resources)
}

// withDefaults adds the defaults of the resources that have neither a request nor a limit.
func withDefaults(resources, defaults corev1.ResourceRequirements) corev1.ResourceRequirements {
	isSet := func(name corev1.ResourceName) bool {
		_, requested := resources.Requests[name]
		_, limited := resources.Limits[name]
		return requested || limited
	}
	result := *resources.DeepCopy()
	for name, quantity := range defaults.Requests {
		if !isSet(name) {
			result.Requests = setQuantity(result.Requests, name, quantity)
		}
	}
	for name, quantity := range defaults.Limits {
		if !isSet(name) {
			result.Limits = setQuantity(result.Limits, name, quantity)
		}
	}
	return result
}

func (r *Resolved) selectAccelerator(pod *corev1.PodSpec) {
	accelerator, set := r.metadata.annotations.effective()[annotationGKEAccelerator]
	if set && slices.ContainsFunc(pod.Containers, requestsGPU) {
		pod.NodeSelector = union(pod.NodeSelector, map[string]string{gkeAcceleratorLabel: accelerator})
	}
}

func (r *Resolved) podLabels() map[string]string {
	labels := union(r.runtimeMetadata(func(m *runtime) map[string]string { return m.spec.Labels }, r.settings.ExcludedLabels),
		r.metadata.labels.effective())
	// KServe's selectors use this label. As in KServe, only Knative mode lets users override it.
	app := map[string]string{labelApp: "isvc." + r.name + "-" + componentPredictor}
	if r.settings.Mode == v1beta1.DeploymentModeKnative {
		labels = union(app, labels)
	} else {
		labels = union(labels, app)
	}
	return union(labels, map[string]string{
		v1beta1.LabelInferenceService: r.name,
		v1beta1.LabelComponent:        componentPredictor,
		v1beta1.LabelManagedBy:        v1beta1.ManagedBySerinus,
	})
}

func (r *Resolved) runtimeMetadata(get func(*runtime) map[string]string, excluded []string) map[string]string {
	if r.runtime == nil {
		return nil
	}
	return without(get(r.runtime), excluded)
}

// podAnnotations returns the annotations of the pods. If scraping is enabled, it adds Prometheus'
// annotations from the port and path that the runtime declares.
func (r *Resolved) podAnnotations(port int32) map[string]string {
	annotations := union(r.runtimeMetadata(func(m *runtime) map[string]string { return m.spec.Annotations }, r.settings.ExcludedAnnotations),
		r.metadata.annotations.effective(), r.scaling)
	if annotations[v1beta1.AnnotationEnablePrometheusScraping] != "true" {
		return annotations
	}
	return union(map[string]string{
		"prometheus.io/scrape": "true",
		"prometheus.io/port":   cmp.Or(annotations[annotationMetricsPort], strconv.Itoa(int(port))),
		"prometheus.io/path":   cmp.Or(annotations[annotationMetricsPath], "/metrics"),
	}, annotations)
}
