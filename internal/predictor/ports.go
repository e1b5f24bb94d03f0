// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serinus-io/serinus/api/v1beta1"
)

const (
	// defaultPort is the port of a container that lists none.
	defaultPort = 8080
	// servicePort and servicePortName belong to the Service port for the first container port.
	servicePort     = 80
	servicePortName = "http"

	appProtocolH2C = "kubernetes.io/h2c"

	// The port names that Knative accepts.
	knativeHTTP = "http1"
	knativeH2C  = "h2c"
)

// entryContainer returns the container that receives the requests: the transformer if there is one,
// otherwise the serving container.
func entryContainer(containers []corev1.Container) *corev1.Container {
	return &containers[max(slices.IndexFunc(containers, isTransformer), 0)]
}

func firstPort(container corev1.Container) corev1.ContainerPort {
	if len(container.Ports) == 0 {
		return corev1.ContainerPort{ContainerPort: defaultPort}
	}
	return container.Ports[0]
}

// appProtocol derives the application protocol from the name of a port, like Knative and KServe.
func appProtocol(port corev1.ContainerPort) string {
	if strings.Contains(port.Name, "grpc") || strings.Contains(port.Name, "h2c") {
		return appProtocolH2C
	}
	return ""
}

// additionalPorts returns the Service ports for all container ports but the first.
func additionalPorts(container corev1.Container) []corev1.ServicePort {
	var ports []corev1.ServicePort
	for _, port := range container.Ports[min(1, len(container.Ports)):] {
		protocol := cmp.Or(port.Protocol, corev1.ProtocolTCP)
		if slices.ContainsFunc(ports, func(p corev1.ServicePort) bool { return p.Port == port.ContainerPort && p.Protocol == protocol }) {
			continue
		}
		name := port.Name
		if name == "" || name == servicePortName || slices.ContainsFunc(ports, func(p corev1.ServicePort) bool { return p.Name == name }) {
			name = fmt.Sprintf("%s-%d", strings.ToLower(cmp.Or(name, string(protocol))), port.ContainerPort)
		}
		added := corev1.ServicePort{
			Name:       name,
			Protocol:   protocol,
			Port:       port.ContainerPort,
			TargetPort: intstr.FromInt32(port.ContainerPort),
		}
		if h2c := appProtocol(port); h2c != "" {
			added.AppProtocol = &h2c
		}
		ports = append(ports, added)
	}
	return ports
}

func (r *Resolved) checkPorts(container corev1.Container) *Error {
	for _, port := range additionalPorts(container) {
		if port.Port == servicePort && port.Protocol == corev1.ProtocolTCP {
			return invalid(r.portsField(container), "port %d is listed after port %d, but port %d of the Service forwards to the first port; list %d first",
				servicePort, container.Ports[0].ContainerPort, servicePort, servicePort)
		}
	}
	return nil
}

// limitToOnePort leaves one port in the pod, with a name that Knative accepts. The ports of a model
// server behind a transformer are dropped: the transformer reaches it within the pod.
func (r *Resolved) limitToOnePort(containers []corev1.Container) *Error {
	entry := entryContainer(containers)
	for i := range containers {
		container := &containers[i]
		if container == entry || len(container.Ports) == 0 {
			continue
		}
		if !isServing(*container) {
			return invalid(r.portsField(*container), "container %s lists port %d, and in %s mode only the port of %s can be reached; remove it",
				container.Name, container.Ports[0].ContainerPort, v1beta1.DeploymentModeKnative, entry.Name)
		}
		container.Ports = nil
	}
	if len(entry.Ports) > 1 {
		return invalid(r.portsField(*entry), "container %s lists the ports %s, and in %s mode only one can be reached; set this field to the port that serves requests",
			entry.Name, joinWords("and", portNumbers(entry.Ports)), v1beta1.DeploymentModeKnative)
	}
	if len(entry.Ports) == 0 {
		if len(containers) > 1 {
			entry.Ports = []corev1.ContainerPort{{ContainerPort: defaultPort}}
		}
		return nil
	}
	renamePortForKnative(entry)
	return nil
}

// renamePortForKnative also changes probes that refer to the old name to the port's number.
func renamePortForKnative(container *corev1.Container) {
	port := &container.Ports[0]
	oldName := port.Name
	switch {
	case oldName == "" || oldName == knativeHTTP || oldName == knativeH2C:
		return
	case appProtocol(*port) != "":
		port.Name = knativeH2C
	default:
		port.Name = knativeHTTP
	}
	useNumber := func(reference *intstr.IntOrString) {
		if reference.Type == intstr.String && reference.StrVal == oldName {
			*reference = intstr.FromInt32(port.ContainerPort)
		}
	}
	for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe, container.StartupProbe} {
		if probe != nil && probe.HTTPGet != nil {
			useNumber(&probe.HTTPGet.Port)
		}
		if probe != nil && probe.TCPSocket != nil {
			useNumber(&probe.TCPSocket.Port)
		}
	}
}

func (r *Resolved) portsField(container corev1.Container) string {
	if r.spec.Model != nil && isServing(container) {
		return modelField + ".ports"
	}
	return fmt.Sprintf("%s.containers[%s].ports", predictorField, container.Name)
}

func portNumbers(ports []corev1.ContainerPort) []string {
	var numbers []string
	for _, port := range ports {
		numbers = append(numbers, strconv.Itoa(int(port.ContainerPort)))
	}
	return numbers
}
