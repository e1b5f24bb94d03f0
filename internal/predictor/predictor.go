// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

// Runtimes holds the serving runtimes that are available to an InferenceService, in any order.
type Runtimes struct {
	Namespaced []*v1alpha1.ServingRuntime
	Cluster    []*v1alpha1.ClusterServingRuntime
}

// RuntimeKind is the kind of a serving runtime.
type RuntimeKind string

// The kinds of serving runtimes.
const (
	ServingRuntimeKind        RuntimeKind = "ServingRuntime"
	ClusterServingRuntimeKind RuntimeKind = "ClusterServingRuntime"
)

// RuntimeRef refers to a serving runtime. It is empty for a predictor with custom containers.
type RuntimeRef struct {
	Kind RuntimeKind `json:"kind,omitempty"`
	Name string      `json:"name,omitempty"`
}

// Resolved is the revision that an InferenceService asks for.
type Resolved struct {
	// Hash is the hash of the revision: 16 lower-case hexadecimal digits. It is empty if no
	// serving runtime can be used.
	Hash string
	// SpecHash is the hash without the selected runtime. It changes only when the
	// InferenceService changes.
	SpecHash string
	// Identity holds the values that both hashes are computed from. To match a revision in the
	// history, use [Identity.Equal]: it tolerates a change of the excluded labels and annotations.
	Identity Identity
	Runtime  RuntimeRef
	// RuntimeMissing reports that Hash is empty because the serving runtime is missing or disabled.
	RuntimeMissing bool

	name        string
	namespace   string
	spec        v1beta1.PredictorSpec // Normalised.
	original    v1beta1.PredictorSpec // As the user wrote it.
	source      source
	metadata    metadata
	changeCause string

	scaling  map[string]string // Nil in Standard mode.
	runtime  *runtime          // Nil for a predictor with custom containers.
	settings Settings
}

// Resolve returns the revision that an InferenceService asks for. Every error is an [*Error]. If
// only the serving runtime cannot be used, Resolve returns a result as well as the error. Its
// SpecHash then shows whether an existing revision still matches the InferenceService.
func Resolve(isvc *v1beta1.InferenceService, runtimes Runtimes, settings Settings) (*Resolved, error) {
	if problems := Validate(isvc); len(problems) > 0 {
		return nil, errorFromProblems(problems)
	}
	spec, err := normalise(isvc.Spec.Predictor)
	if err != nil {
		return nil, err
	}
	source, err := sourceOf(&spec)
	if err != nil {
		return nil, err
	}
	resolved := &Resolved{
		name:        isvc.Name,
		namespace:   isvc.Namespace,
		spec:        spec,
		original:    isvc.Spec.Predictor,
		source:      source,
		metadata:    propagated(isvc, settings),
		changeCause: isvc.Annotations[AnnotationChangeCause],
		settings:    settings,
	}
	if settings.Mode == v1beta1.DeploymentModeKnative {
		resolved.scaling = knativeScaling(isvc)
	}
	var selected *runtime
	if spec.Model != nil {
		selected, err = selectRuntime(spec.Model, isvc.Namespace, runtimes)
	}
	return resolved, resolved.setRuntime(selected, err)
}

// KeepRuntime selects the runtime of an existing revision with the same spec instead of picking
// one. If the spec names its runtime, any runtime with that name is accepted, of either kind. If
// the runtime cannot be used, r has only SpecHash, as after [Resolve].
func (r *Resolved) KeepRuntime(ref RuntimeRef, runtimes Runtimes) error {
	selected, err := existingRuntime(ref, r.spec.Model, r.namespace, runtimes)
	failure := r.setRuntime(selected, err)
	r.RuntimeMissing = r.RuntimeMissing || failure != nil && !runtimes.has(ref)
	return failure
}

func (r *Resolved) setRuntime(selected *runtime, err *Error) error {
	r.setIdentity(selected)
	r.RuntimeMissing = err != nil && (err.Reason == v1beta1.RuntimeNotRecognized || err.Reason == v1beta1.RuntimeDisabled)
	if err != nil {
		return err
	}
	return nil
}

func (r *Resolved) setIdentity(selected *runtime) {
	r.Identity = Identity{
		Predictor:   hash(hashedSpec(r.spec)),
		Labels:      hashesOf(r.metadata.labels, r.settings.ExcludedLabels),
		Annotations: hashesOf(r.metadata.annotations, r.settings.ExcludedAnnotations),
	}
	if r.scaling != nil {
		r.Identity.Scaling = hash(r.scaling)
	}
	if r.spec.Model != nil && r.spec.Model.Runtime != nil {
		r.Identity.RequestedRuntime = *r.spec.Model.Runtime
	}
	r.SpecHash = r.Identity.specHash()
	r.runtime, r.Runtime, r.Hash = nil, RuntimeRef{}, ""
	if selected != nil {
		r.runtime = selected
		r.Runtime = selected.ref
		r.Identity.Runtime = hash(selected.hashedFields())
	}
	if selected != nil || r.spec.Model == nil {
		r.Hash = r.Identity.hash()
	}
}
