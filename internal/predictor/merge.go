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

// mergePods merges the pod fields of a predictor, except its containers, over those of a runtime.
func mergePods(base corev1.PodSpec, overlay v1beta1.PodSpec) (corev1.PodSpec, *Error) {
	overlay.Containers = nil
	base.Volumes = withoutNamed(base.Volumes, overlay.Volumes, func(v corev1.Volume) string { return v.Name })
	base.ResourceClaims = withoutNamed(base.ResourceClaims, overlay.ResourceClaims,
		func(c corev1.PodResourceClaim) string { return c.Name })
	return merge(base, overlay, predictorField)
}

// mergeContainers merges the container of a model over that of a runtime. The model's args come
// last, because model servers use the last of two conflicting flags.
func mergeContainers(base, overlay corev1.Container) (corev1.Container, *Error) {
	base = *base.DeepCopy()
	dropReplaced(&base, &overlay)
	merged, err := merge(base, overlay, modelField)
	if err != nil {
		return merged, err
	}
	merged.Name = base.Name
	merged.Args = slices.Concat(base.Args, overlay.Args)
	// The first port serves the model, so the overlay's ports come first.
	position := func(port corev1.ContainerPort) int {
		index := slices.IndexFunc(overlay.Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == port.ContainerPort })
		if index < 0 {
			return len(overlay.Ports)
		}
		return index
	}
	slices.SortStableFunc(merged.Ports, func(a, b corev1.ContainerPort) int { return position(a) - position(b) })
	alignResources(&merged.Resources, overlay.Resources)
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

// dropReplaced removes from a runtime's container what the overlay replaces as a whole. Otherwise a
// merge could combine exclusive fields, such as value and valueFrom, or two kinds of probe handler.
func dropReplaced(base, overlay *corev1.Container) {
	for i, variable := range base.Env {
		if slices.ContainsFunc(overlay.Env, func(v corev1.EnvVar) bool { return v.Name == variable.Name }) {
			base.Env[i] = corev1.EnvVar{Name: variable.Name}
		}
	}
	base.Ports = slices.DeleteFunc(base.Ports, func(port corev1.ContainerPort) bool {
		return port.Name != "" && slices.ContainsFunc(overlay.Ports, func(p corev1.ContainerPort) bool { return p.Name == port.Name })
	})
	base.VolumeMounts = withoutNamed(base.VolumeMounts, overlay.VolumeMounts, func(m corev1.VolumeMount) string { return m.MountPath })
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

func withoutNamed[T any](base, overlay []T, name func(T) string) []T {
	return slices.DeleteFunc(slices.Clone(base), func(item T) bool {
		return slices.ContainsFunc(overlay, func(other T) bool { return name(other) == name(item) })
	})
}

// alignResources adjusts a request or limit that comes from the runtime if it is inconsistent with
// the overlay's limit or request for the same resource.
func alignResources(merged *corev1.ResourceRequirements, overlay corev1.ResourceRequirements) {
	for name, limit := range overlay.Limits {
		if _, isSet := overlay.Requests[name]; !isSet && conflicts(name, merged.Requests, limit, 1) {
			merged.Requests[name] = limit
		}
	}
	for name, request := range overlay.Requests {
		if _, isSet := overlay.Limits[name]; !isSet && conflicts(name, merged.Limits, request, -1) {
			merged.Limits[name] = request
		}
	}
}

// conflicts reports whether the inherited quantity compares to the overlay's as invalidOrder says.
// Requests and limits of extended resources must be equal.
func conflicts(name corev1.ResourceName, inherited corev1.ResourceList, overlay resource.Quantity, invalidOrder int) bool {
	quantity, ok := inherited[name]
	if !ok {
		return false
	}
	order := compareQuantities(quantity, overlay)
	return order == invalidOrder || order != 0 && strings.Contains(string(name), "/")
}

func setQuantity(list corev1.ResourceList, name corev1.ResourceName, quantity resource.Quantity) corev1.ResourceList {
	if list == nil {
		list = corev1.ResourceList{}
	}
	list[name] = quantity.DeepCopy()
	return list
}

// setVariable adds a variable or replaces the one with the same name.
func setVariable(env []corev1.EnvVar, variable corev1.EnvVar) []corev1.EnvVar {
	index := slices.IndexFunc(env, func(v corev1.EnvVar) bool { return v.Name == variable.Name })
	if index < 0 {
		return append(env, variable)
	}
	env[index] = variable
	return env
}

// addVariable adds a variable unless one with the same name exists.
func addVariable(env []corev1.EnvVar, variable corev1.EnvVar) []corev1.EnvVar {
	if slices.ContainsFunc(env, func(v corev1.EnvVar) bool { return v.Name == variable.Name }) {
		return env
	}
	return append(env, variable)
}
