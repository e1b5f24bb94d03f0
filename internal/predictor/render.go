// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serinus-io/serinus/api/v1beta1"
)

const (
	// transformerContainerName is the container that, where there is one, stands
	// before the serving container in the same pod.
	transformerContainerName = "transformer-container"
	// defaultPort is where a server listens that names no port.
	defaultPort = 8080

	appProtocolH2C = "kubernetes.io/h2c"

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
	port := entry(template.Spec.Containers)
	return Revision{
		Identity:             r.Identity,
		Runtime:              r.Runtime,
		Template:             template,
		Port:                 port.ContainerPort,
		AppProtocol:          appProtocol(port),
		TimeoutSeconds:       r.spec.TimeoutSeconds,
		ContainerConcurrency: r.spec.ContainerConcurrency,
	}, nil
}

func (r *Resolved) template(credentials Credentials) (corev1.PodTemplateSpec, *Error) {
	pod, err := r.pod()
	if err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	completeContainers(&pod, r.name, r.settings.Resources)
	r.selectAccelerator(&pod)
	if err := r.provideModel(&pod, credentials); err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	template := corev1.PodTemplateSpec{Spec: pod}
	template.Labels = r.podLabels()
	template.Annotations = r.podAnnotations(entry(pod.Containers).ContainerPort)
	return template, nil
}

// pod returns the pod as the runtime and the predictor describe it.
func (r *Resolved) pod() (corev1.PodSpec, *Error) {
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

// runtimeContainers returns the containers of the runtime: the serving one with
// the model's fields merged over it, then the one that stands before it, then
// all others.
func (r *Resolved) runtimeContainers() ([]corev1.Container, *Error) {
	var serving, transformer, others []corev1.Container
	for _, container := range r.runtime.spec.Containers {
		switch container.Name {
		case v1beta1.ServingContainerName:
			serving = append(serving, container)
		case transformerContainerName:
			transformer = append(transformer, *container.DeepCopy())
		default:
			others = append(others, *container.DeepCopy())
		}
	}
	if len(serving) == 0 {
		return nil, invalid(modelField, "%s has no container %s; add it to the runtime, or use another",
			r.runtime, v1beta1.ServingContainerName)
	}
	server, placeholders := r.serverDefaults()
	merged, err := mergeContainers(serving[0], server)
	if err != nil {
		return nil, err
	}
	containers := append([]corev1.Container{merged}, transformer...)
	for i := range containers {
		if err := r.fillIn(&containers[i], placeholders); err != nil {
			return nil, err
		}
	}
	containers[0].Image = imageFor(containers[0], r.spec.Model.RuntimeVersion, r.runtime.serverType())
	return append(containers, others...), nil
}

// completeContainers adds to the containers what nobody has to write.
func completeContainers(pod *corev1.PodSpec, name string, resources corev1.ResourceRequirements) {
	for i := range pod.Containers {
		container := &pod.Containers[i]
		container.Env = setVariable(container.Env, corev1.EnvVar{Name: envInferenceServiceName, Value: name})
		if !isServing(*container) && container.Name != transformerContainerName {
			continue
		}
		if container.ReadinessProbe == nil {
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
	serving.Resources = withDefaults(serving.Resources, resources)
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

// entry returns the port of the pod that takes the requests.
func entry(containers []corev1.Container) corev1.ContainerPort {
	index := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == transformerContainerName })
	return firstPort(containers[max(index, 0)])
}

func firstPort(container corev1.Container) corev1.ContainerPort {
	if len(container.Ports) == 0 {
		return corev1.ContainerPort{ContainerPort: defaultPort}
	}
	return container.Ports[0]
}

// appProtocol goes by the name of a port, as in Knative and KServe.
func appProtocol(port corev1.ContainerPort) string {
	if strings.Contains(port.Name, "grpc") || strings.Contains(port.Name, "h2c") {
		return appProtocolH2C
	}
	return ""
}

// selectAccelerator asks for nodes with the kind of GPU that the annotation
// names.
func (r *Resolved) selectAccelerator(pod *corev1.PodSpec) {
	accelerator, set := r.metadata.annotations.effective()[annotationGKEAccelerator]
	if set && slices.ContainsFunc(pod.Containers, wantsGPU) {
		pod.NodeSelector = union(pod.NodeSelector, map[string]string{gkeAcceleratorLabel: accelerator})
	}
}

func (r *Resolved) podLabels() map[string]string {
	labels := union(r.runtimeMetadata(func(m *runtime) map[string]string { return m.spec.Labels }, r.settings.ExcludedLabels),
		r.metadata.labels.effective())
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
