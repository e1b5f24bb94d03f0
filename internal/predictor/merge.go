// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// mergePods merges the pod fields of a predictor over those of a runtime, all
// but the containers.
func mergePods(base corev1.PodSpec, overlay v1beta1.PodSpec) (corev1.PodSpec, *Error) {
	overlay.Containers = nil
	base.Volumes = except(base.Volumes, overlay.Volumes, func(v corev1.Volume) string { return v.Name })
	base.ResourceClaims = except(base.ResourceClaims, overlay.ResourceClaims,
		func(c corev1.PodResourceClaim) string { return c.Name })
	return merge(base, overlay, predictorField)
}

// mergeContainers merges the container of a model over that of a runtime. Its
// args come after the runtime's, because servers take the last of two.
func mergeContainers(base, overlay corev1.Container) (corev1.Container, *Error) {
	base = *base.DeepCopy()
	makeRoom(&base, &overlay)
	merged, err := merge(base, overlay, modelField)
	if err != nil {
		return merged, err
	}
	merged.Name = base.Name
	merged.Args = slices.Concat(base.Args, overlay.Args)
	// The first port serves, and the overlay decides.
	place := func(port corev1.ContainerPort) int {
		index := slices.IndexFunc(overlay.Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == port.ContainerPort })
		if index < 0 {
			return len(overlay.Ports)
		}
		return index
	}
	slices.SortStableFunc(merged.Ports, func(a, b corev1.ContainerPort) int { return place(a) - place(b) })
	settle(&merged.Resources, overlay.Resources)
	return merged, nil
}

func merge[Base, Overlay any](base Base, overlay Overlay, path string) (Base, *Error) {
	var merged Base
	original, err := json.Marshal(base)
	if err != nil {
		return merged, invalid(path, "the serving runtime cannot be read: %v", err)
	}
	patch, err := json.Marshal(overlay)
	if err != nil {
		return merged, invalid(path, "cannot be read: %v", err)
	}
	result, err := strategicpatch.StrategicMergePatch(original, patch, merged)
	if err == nil {
		err = json.Unmarshal(result, &merged)
	}
	if err != nil {
		return merged, invalid(path, "cannot be merged over the serving runtime: %v", err)
	}
	return merged, nil
}

// makeRoom takes out of a runtime's container what the overlay replaces as a
// whole. A merge would otherwise mix two sources of one thing: a value with a
// reference, one kind of probe with another.
func makeRoom(base, overlay *corev1.Container) {
	for i, variable := range base.Env {
		if slices.ContainsFunc(overlay.Env, func(v corev1.EnvVar) bool { return v.Name == variable.Name }) {
			base.Env[i] = corev1.EnvVar{Name: variable.Name}
		}
	}
	base.Ports = slices.DeleteFunc(base.Ports, func(port corev1.ContainerPort) bool {
		return port.Name != "" && slices.ContainsFunc(overlay.Ports, func(p corev1.ContainerPort) bool { return p.Name == port.Name })
	})
	base.VolumeMounts = except(base.VolumeMounts, overlay.VolumeMounts, func(m corev1.VolumeMount) string { return m.MountPath })
	for _, probes := range [][2]*corev1.Probe{
		{base.LivenessProbe, overlay.LivenessProbe},
		{base.ReadinessProbe, overlay.ReadinessProbe},
		{base.StartupProbe, overlay.StartupProbe},
	} {
		if probes[0] != nil && probes[1] != nil && probes[1].ProbeHandler != (corev1.ProbeHandler{}) {
			probes[0].ProbeHandler = corev1.ProbeHandler{}
		}
	}
	if base.Lifecycle != nil && overlay.Lifecycle != nil {
		if overlay.Lifecycle.PostStart != nil {
			base.Lifecycle.PostStart = nil
		}
		if overlay.Lifecycle.PreStop != nil {
			base.Lifecycle.PreStop = nil
		}
	}
}

// except returns the items of base that have no namesake in overlay.
func except[T any](base, overlay []T, name func(T) string) []T {
	return slices.DeleteFunc(slices.Clone(base), func(item T) bool {
		return slices.ContainsFunc(overlay, func(other T) bool { return name(other) == name(item) })
	})
}

// settle lets what the overlay says of a resource prevail: where it gives only
// a limit or only a request, the other one, which then is the runtime's, is
// moved as far as it contradicts.
func settle(merged *corev1.ResourceRequirements, overlay corev1.ResourceRequirements) {
	for name, limit := range overlay.Limits {
		if _, said := overlay.Requests[name]; !said && contradict(name, merged.Requests, limit, 1) {
			merged.Requests[name] = limit
		}
	}
	for name, request := range overlay.Requests {
		if _, said := overlay.Limits[name]; !said && contradict(name, merged.Limits, request, -1) {
			merged.Limits[name] = request
		}
	}
}

// contradict tells whether an inherited quantity is on the wrong side of the
// given one. Of devices and the like, neither side is right: their request must
// equal their limit.
func contradict(name corev1.ResourceName, inherited corev1.ResourceList, given resource.Quantity, wrong int) bool {
	quantity, ok := inherited[name]
	if !ok {
		return false
	}
	order := compareQuantities(quantity, given)
	return order == wrong || order != 0 && strings.Contains(string(name), "/")
}

func setQuantity(list corev1.ResourceList, name corev1.ResourceName, quantity resource.Quantity) corev1.ResourceList {
	if list == nil {
		list = corev1.ResourceList{}
	}
	list[name] = quantity.DeepCopy()
	return list
}

// setVariable sets a variable, in its old place if it had one.
func setVariable(env []corev1.EnvVar, variable corev1.EnvVar) []corev1.EnvVar {
	index := slices.IndexFunc(env, func(v corev1.EnvVar) bool { return v.Name == variable.Name })
	if index < 0 {
		return append(env, variable)
	}
	env[index] = variable
	return env
}

// addVariable adds a variable unless there is one of its name.
func addVariable(env []corev1.EnvVar, variable corev1.EnvVar) []corev1.EnvVar {
	if slices.ContainsFunc(env, func(v corev1.EnvVar) bool { return v.Name == variable.Name }) {
		return env
	}
	return append(env, variable)
}
