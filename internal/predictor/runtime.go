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

// all returns the runtimes in the order in which they are considered: those of
// the namespace first, and among equals the one that speaks the lowest
// protocol, then the newest, then by name.
func (r Runtimes) all() []*runtime {
	var namespaced, cluster []*runtime
	for _, found := range r.Namespaced {
		namespaced = append(namespaced, &runtime{
			ref:         RuntimeRef{Kind: ServingRuntimeKind, Name: found.Name},
			annotations: found.Annotations,
			created:     found.CreationTimestamp.Time,
			spec:        &found.Spec,
		})
	}
	for _, found := range r.Cluster {
		cluster = append(cluster, &runtime{
			ref:         RuntimeRef{Kind: ClusterServingRuntimeKind, Name: found.Name},
			annotations: found.Annotations,
			created:     found.CreationTimestamp.Time,
			spec:        &found.Spec,
		})
	}
	slices.SortFunc(namespaced, considerFirst)
	slices.SortFunc(cluster, considerFirst)
	return append(namespaced, cluster...)
}

func (r Runtimes) has(ref RuntimeRef) bool {
	return slices.ContainsFunc(r.all(), func(found *runtime) bool { return found.ref == ref })
}

func considerFirst(a, b *runtime) int {
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

// choose returns the serving runtime for a model.
func choose(model *v1beta1.ModelSpec, namespace string, runtimes Runtimes) (*runtime, *Error) {
	all := runtimes.all()
	choice := pick
	if model.Runtime != nil {
		choice = named
	}
	return usable(choice(model, namespace, all))
}

// usable refuses a runtime with quantities that no pod can have.
func usable(chosen *runtime, err *Error) (*runtime, *Error) {
	if err != nil {
		return nil, err
	}
	if problem := excessive(reflect.ValueOf(chosen.spec.ServingRuntimePodSpec), "spec"); problem != nil {
		return nil, invalid(modelField, "%s cannot be used: %s", chosen, problem)
	}
	return chosen, nil
}

// named returns the runtime that the spec names.
func named(model *v1beta1.ModelSpec, namespace string, all []*runtime) (*runtime, *Error) {
	name := *model.Runtime
	index := slices.IndexFunc(all, func(r *runtime) bool { return r.ref.Name == name })
	if index < 0 {
		return nil, notThere(name, namespace, all)
	}
	if refusal := refuseNamed(all[index], model); refusal != nil {
		return nil, refusal.asError()
	}
	return all[index], nil
}

// keep returns the runtime that an earlier revision of the same model has.
func keep(ref RuntimeRef, model *v1beta1.ModelSpec, namespace string, runtimes Runtimes) (*runtime, *Error) {
	all := runtimes.all()
	index := slices.IndexFunc(all, func(r *runtime) bool { return r.ref == ref })
	if model.Runtime != nil {
		if index >= 0 {
			all = all[index : index+1] // Not a namesake of the other kind.
		}
		return usable(named(model, namespace, all))
	}
	if index < 0 {
		return nil, pickedIsGone(ref, all)
	}
	if refusal := refusePicked(all[index], model); refusal != nil {
		return nil, refusal.asErrorOfPicked()
	}
	return usable(all[index], nil)
}

// pick returns the runtime that serves the model best.
func pick(model *v1beta1.ModelSpec, namespace string, all []*runtime) (*runtime, *Error) {
	var serving []*runtime
	var refusals []*refusal
	for _, r := range all {
		if refused := refuse(r, model); refused != nil {
			refusals = append(refusals, refused)
			continue
		}
		serving = append(serving, r)
	}
	if len(serving) == 0 {
		return nil, nothingServes(model, namespace, refusals)
	}
	// Between equals the order of considerFirst holds.
	slices.SortStableFunc(serving, func(a, b *runtime) int {
		return cmp.Or(
			cmp.Compare(a.ref.Kind.rank(), b.ref.Kind.rank()),
			cmp.Compare(priority(b.spec, model.ModelFormat.Name), priority(a.spec, model.ModelFormat.Name)),
		)
	})
	return serving[0], nil
}

func (k RuntimeKind) rank() int {
	if k == ServingRuntimeKind {
		return 0
	}
	return 1
}

// priority returns the priority of a runtime for a format; one that names none
// comes after all that do. As in KServe it is that of the first entry of the
// format, whatever its version.
func priority(spec *v1alpha1.ServingRuntimeSpec, format string) int32 {
	index := slices.IndexFunc(spec.SupportedModelFormats, func(f v1alpha1.SupportedModelFormat) bool {
		return f.Name == format
	})
	if index < 0 || spec.SupportedModelFormats[index].Priority == nil {
		return math.MinInt32
	}
	return *spec.SupportedModelFormats[index].Priority
}
