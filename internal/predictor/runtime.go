// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

// runtime is a serving runtime of either kind.
type runtime struct {
	ref         RuntimeRef
	annotations map[string]string
	created     time.Time
	spec        *v1alpha1.ServingRuntimeSpec
}

func (r *runtime) String() string {
	return fmt.Sprintf("%s %q", r.ref.Kind, r.ref.Name)
}

// all returns the runtimes in the order of preference: first those of the namespace, then by lowest
// protocol, newest first, and by name.
func (r Runtimes) all() []*runtime {
	var namespaced, cluster []*runtime
	for _, object := range r.Namespaced {
		namespaced = append(namespaced, &runtime{
			ref:         RuntimeRef{Kind: ServingRuntimeKind, Name: object.Name},
			annotations: object.Annotations,
			created:     object.CreationTimestamp.Time,
			spec:        &object.Spec,
		})
	}
	for _, object := range r.Cluster {
		cluster = append(cluster, &runtime{
			ref:         RuntimeRef{Kind: ClusterServingRuntimeKind, Name: object.Name},
			annotations: object.Annotations,
			created:     object.CreationTimestamp.Time,
			spec:        &object.Spec,
		})
	}
	slices.SortFunc(namespaced, compareRuntimes)
	slices.SortFunc(cluster, compareRuntimes)
	return append(namespaced, cluster...)
}

func (r Runtimes) has(ref RuntimeRef) bool {
	return slices.ContainsFunc(r.all(), func(candidate *runtime) bool { return candidate.ref == ref })
}

func compareRuntimes(a, b *runtime) int {
	return cmp.Or(
		cmp.Compare(lowestProtocol(a.spec), lowestProtocol(b.spec)),
		b.created.Compare(a.created),
		cmp.Compare(a.ref.Name, b.ref.Name),
	)
}

// protocolOrder ranks the protocols. A runtime that lists none comes last.
var protocolOrder = []v1beta1.ProtocolVersion{
	v1beta1.ProtocolV1, v1beta1.ProtocolV2, v1beta1.ProtocolGRPCV1, v1beta1.ProtocolGRPCV2,
}

func lowestProtocol(spec *v1alpha1.ServingRuntimeSpec) int {
	lowest := len(protocolOrder)
	for _, protocol := range spec.ProtocolVersions {
		if rank := slices.Index(protocolOrder, protocol); rank >= 0 {
			lowest = min(lowest, rank)
		}
	}
	return lowest
}

func selectRuntime(model *v1beta1.ModelSpec, namespace string, runtimes Runtimes) (*runtime, *Error) {
	all := runtimes.all()
	find := pickRuntime
	if model.Runtime != nil {
		find = requestedRuntime
	}
	return checkQuantities(find(model, namespace, all))
}

func checkQuantities(selected *runtime, err *Error) (*runtime, *Error) {
	if err != nil {
		return nil, err
	}
	if problem := findOversized(reflect.ValueOf(selected.spec.ServingRuntimePodSpec), "spec"); problem != nil {
		return nil, invalid(modelField, "%s cannot be used: %s", selected, problem)
	}
	return selected, nil
}

func requestedRuntime(model *v1beta1.ModelSpec, namespace string, all []*runtime) (*runtime, *Error) {
	name := *model.Runtime
	index := slices.IndexFunc(all, func(r *runtime) bool { return r.ref.Name == name })
	if index < 0 {
		return nil, requestedNotFound(name, namespace, all)
	}
	if rejection := checkRequested(all[index], model); rejection != nil {
		return nil, rejection.errorForRequested()
	}
	return all[index], nil
}

// existingRuntime returns the runtime of an existing revision of the same model.
func existingRuntime(ref RuntimeRef, model *v1beta1.ModelSpec, namespace string, runtimes Runtimes) (*runtime, *Error) {
	all := runtimes.all()
	index := slices.IndexFunc(all, func(r *runtime) bool { return r.ref == ref })
	if model.Runtime != nil {
		if index >= 0 {
			all = all[index : index+1] // Ignore a runtime of the other kind with the same name.
		}
		return checkQuantities(requestedRuntime(model, namespace, all))
	}
	if index < 0 {
		return nil, pickedNotFound(ref, all)
	}
	if rejection := checkPicked(all[index], model); rejection != nil {
		return nil, rejection.errorForPicked()
	}
	return checkQuantities(all[index], nil)
}

func pickRuntime(model *v1beta1.ModelSpec, namespace string, all []*runtime) (*runtime, *Error) {
	var candidates []*runtime
	var rejections []*rejection
	for _, r := range all {
		if rejected := checkAutoSelect(r, model); rejected != nil {
			rejections = append(rejections, rejected)
			continue
		}
		candidates = append(candidates, r)
	}
	if len(candidates) == 0 {
		return nil, noSupportingRuntime(model, namespace, rejections)
	}
	// The sort is stable: ties keep the order of compareRuntimes.
	slices.SortStableFunc(candidates, func(a, b *runtime) int {
		return cmp.Or(
			cmp.Compare(a.ref.Kind.rank(), b.ref.Kind.rank()),
			cmp.Compare(priority(b.spec, model.ModelFormat.Name), priority(a.spec, model.ModelFormat.Name)),
		)
	})
	return candidates[0], nil
}

func (k RuntimeKind) rank() int {
	if k == ServingRuntimeKind {
		return 0
	}
	return 1
}

// priority returns the priority of a runtime for a format. A runtime without a priority comes last.
// As KServe does, it uses the first entry for the format and ignores the version.
func priority(spec *v1alpha1.ServingRuntimeSpec, format string) int32 {
	index := slices.IndexFunc(spec.SupportedModelFormats, func(f v1alpha1.SupportedModelFormat) bool {
		return f.Name == format
	})
	if index < 0 || spec.SupportedModelFormats[index].Priority == nil {
		return math.MinInt32
	}
	return *spec.SupportedModelFormats[index].Priority
}
