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
	// transformerContainerName is the container that, where there is one, stands
	// before the serving container in the same pod.
	transformerContainerName = "transformer-container"

	labelApp                = "app"
	envInferenceServiceName = "INFERENCE_SERVICE_NAME"
	gkeAcceleratorLabel     = "cloud.google.com/gke-accelerator"

	componentPredictor = "predictor"
)

// Render builds what the revision runs. Every error is an [*Error]. It may be
// called only on what [Resolve] returned without an error.
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

// Pod returns the pod that [Resolved.Render] begins with. Its error is why that must fail whatever the credentials are. Only a
// new revision has to pass: what an earlier version has rendered runs on.
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
	r.completeContainers(&pod)
	r.selectAccelerator(&pod)
	if err := r.provideModel(&pod, credentials); err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	template := corev1.PodTemplateSpec{Spec: pod}
	template.Labels = r.podLabels()
	template.Annotations = r.podAnnotations(firstPort(*entryContainer(pod.Containers)).ContainerPort)
	return template, nil
}

// pod returns the pod as the runtime and the predictor describe it.
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
		own := r.spec.PodSpec.DeepCopy()
		return own.AsCore(), nil
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

// runtimeContainers returns the containers of the runtime, with those of the predictor merged over their namesakes: the
// serving one, then the transformer, then the other ones of the runtime and of the predictor. Only the runtime's text
// is a template.
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
		namesake := slices.IndexFunc(overlays, func(c corev1.Container) bool { return c.Name == container.Name })
		if namesake >= 0 {
			if r.settings.Mode == v1beta1.DeploymentModeKnative && len(overlays[namesake].Ports) > 0 {
				container.Ports = nil // There is room for one.
			}
			merged, err := mergeContainers(container, overlays[namesake])
			if err != nil {
				return nil, err
			}
			container = merged
			overlays = slices.Delete(overlays, namesake, namesake+1)
		}
		containers = append(containers, container)
	}
	if !slices.ContainsFunc(containers, isServing) {
		return nil, invalid(modelField, "%s has no container %s; add it to the runtime, or use another",
			r.runtime, v1beta1.ServingContainerName)
	}
	containers = append(containers, overlays...)
	slices.SortStableFunc(containers, func(a, b corev1.Container) int { return cmp.Compare(rank(a), rank(b)) })
	image, err := r.image(containers[0])
	containers[0].Image = image
	return containers, err
}

func isTransformer(container corev1.Container) bool {
	return container.Name == transformerContainerName
}

// rank orders the containers of a pod.
func rank(container corev1.Container) int {
	switch {
	case isServing(container):
		return 0
	case isTransformer(container):
		return 1
	default:
		return 2
	}
}

// completeContainers adds to the containers what nobody has to write.
func (r *Resolved) completeContainers(pod *corev1.PodSpec) {
	entry := entryContainer(pod.Containers)
	for i := range pod.Containers {
		container := &pod.Containers[i]
		container.Env = setVariable(container.Env, corev1.EnvVar{Name: envInferenceServiceName, Value: r.name})
		if !isServing(*container) && !isTransformer(*container) {
			continue
		}
		// Knative probes only the container that takes the requests.
		if container.ReadinessProbe == nil && (container == entry || r.settings.Mode != v1beta1.DeploymentModeKnative) {
			container.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
				TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(firstPort(*container).ContainerPort)},
			}}
		}
		if container.TerminationMessagePolicy == "" {
			// The end of the log is what the status of a failed model quotes.
			container.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
		}
	}
	serving := &pod.Containers[0]
	serving.Resources = withDefaults(serving.Resources, r.settings.Resources)
}

// withDefaults adds the defaults of those resources about which nothing is
// said, neither as a request nor as a limit.
func withDefaults(given, defaults corev1.ResourceRequirements) corev1.ResourceRequirements {
	said := func(name corev1.ResourceName) bool {
		_, requested := given.Requests[name]
		_, limited := given.Limits[name]
		return requested || limited
	}
	complete := *given.DeepCopy()
	for name, quantity := range defaults.Requests {
		if !said(name) {
			complete.Requests = setQuantity(complete.Requests, name, quantity)
		}
	}
	for name, quantity := range defaults.Limits {
		if !said(name) {
			complete.Limits = setQuantity(complete.Limits, name, quantity)
		}
	}
	return complete
}

// selectAccelerator asks for nodes with the kind of GPU that the annotation
// names.
func (r *Resolved) selectAccelerator(pod *corev1.PodSpec) {
	accelerator, set := r.metadata.annotations.effective()[annotationGKEAccelerator]
	if set && slices.ContainsFunc(pod.Containers, requestsGPU) {
		pod.NodeSelector = union(pod.NodeSelector, map[string]string{gkeAcceleratorLabel: accelerator})
	}
}

func (r *Resolved) podLabels() map[string]string {
	labels := union(r.runtimeMetadata(func(m *runtime) map[string]string { return m.spec.Labels }, r.settings.ExcludedLabels),
		r.metadata.labels.effective())
	// KServe's selectors find the pods by this one. As in KServe, it is the user's to set in Knative mode only.
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

// runtimeMetadata returns labels or annotations of the runtime, if there is one.
func (r *Resolved) runtimeMetadata(of func(*runtime) map[string]string, excluded []string) map[string]string {
	if r.runtime == nil {
		return nil
	}
	return without(of(r.runtime), excluded)
}

// podAnnotations returns the annotations of the pods. With the annotation for
// it, Prometheus is told where to scrape: the runtime knows.
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
