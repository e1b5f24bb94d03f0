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
	// defaultPort is where a server listens that names no port.
	defaultPort = 8080
	// servicePort and servicePortName are those under which a Service leads to the port that serves.
	servicePort     = 80
	servicePortName = "http"

	appProtocolH2C = "kubernetes.io/h2c"

	// The names that Knative knows a port by.
	knativeHTTP = "http1"
	knativeH2C  = "h2c"
)

// entryContainer returns the container that takes the requests.
func entryContainer(containers []corev1.Container) *corev1.Container {
	return &containers[max(slices.IndexFunc(containers, isTransformer), 0)]
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

// additionalPorts returns what a Service has to say of the ports beside the first. As in KServe, each is reached by its
// own number.
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

// checkPorts refuses a port that no Service could lead to.
func (r *Resolved) checkPorts(container corev1.Container) *Error {
	for _, port := range additionalPorts(container) {
		if port.Port == servicePort && port.Protocol == corev1.ProtocolTCP {
			return invalid(r.portsField(container), "port %d comes after port %d, and the Service leads its own port %d to the first; write %d first",
				servicePort, container.Ports[0].ContainerPort, servicePort, servicePort)
		}
	}
	return nil
}

// limitToOnePort leaves one port in the pod, and gives it a name that Knative knows. A model server behind a transformer is
// reached inside the pod, whatever ports it lists.
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
		return invalid(r.portsField(*entry), "container %s lists the ports %s, and in %s mode only one can be reached; write the one that serves there, and no other",
			entry.Name, joinWords("and", numbers(entry.Ports)), v1beta1.DeploymentModeKnative)
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

// renamePortForKnative gives the only port of a container a name that Knative knows. A probe that names the port gets its number.
func renamePortForKnative(container *corev1.Container) {
	port := &container.Ports[0]
	given := port.Name
	switch {
	case given == "" || given == knativeHTTP || given == knativeH2C:
		return
	case appProtocol(*port) != "":
		port.Name = knativeH2C
	default:
		port.Name = knativeHTTP
	}
	byNumber := func(reference *intstr.IntOrString) {
		if reference.Type == intstr.String && reference.StrVal == given {
			*reference = intstr.FromInt32(port.ContainerPort)
		}
	}
	for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe, container.StartupProbe} {
		if probe != nil && probe.HTTPGet != nil {
			byNumber(&probe.HTTPGet.Port)
		}
		if probe != nil && probe.TCPSocket != nil {
			byNumber(&probe.TCPSocket.Port)
		}
	}
}

// portsField is where a user says which ports a container has.
func (r *Resolved) portsField(container corev1.Container) string {
	if r.spec.Model != nil && isServing(container) {
		return modelField + ".ports"
	}
	return fmt.Sprintf("%s.containers[%s].ports", predictorField, container.Name)
}

func numbers(ports []corev1.ContainerPort) []string {
	var all []string
	for _, port := range ports {
		all = append(all, strconv.Itoa(int(port.ContainerPort)))
	}
	return all
}
