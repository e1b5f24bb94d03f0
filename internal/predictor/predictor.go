// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

// Runtimes are the serving runtimes that an InferenceService could use, in any
// order.
type Runtimes struct {
	// Namespaced are those of its namespace.
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

// RuntimeRef names a serving runtime. It is zero for a predictor that brings
// its own containers.
type RuntimeRef struct {
	Kind RuntimeKind `json:"kind,omitempty"`
	Name string      `json:"name,omitempty"`
}

// Resolved is what an InferenceService asks for: which revision, and with which
// serving runtime.
type Resolved struct {
	// Inputs is the identity of the revision: 16 lower-case hexadecimal digits.
	Inputs string
	// SpecInputs is the identity without the chosen runtime. It changes only when
	// the InferenceService does.
	SpecInputs string
	// Identity is what both are made of. To find a revision among those that were
	// made earlier, [Identity.Equal] is the better measure: it forgives a change of
	// the settings.
	Identity Identity
	// Runtime is the serving runtime that was chosen.
	Runtime RuntimeRef
	// RuntimeGone says that there are no Inputs only because the serving runtime is
	// missing or disabled.
	RuntimeGone bool

	name      string
	namespace string
	spec      v1beta1.PredictorSpec // Normalised.
	written   v1beta1.PredictorSpec // As the user wrote it.
	source    source
	metadata  metadata
	// changeCause is the user's note on the last change.
	changeCause string

	scaling  map[string]string // Nil where it is no part of a revision.
	runtime  *runtime          // Nil for a predictor with its own containers.
	settings Settings
}

// Resolve finds out which revision an InferenceService asks for. Every error is
// an [*Error]. Where only the serving runtime cannot be had, the answer is not
// nil: it then holds SpecInputs, and tells by them whether a revision that was
// made earlier is still the one that the InferenceService asks for.
func Resolve(isvc *v1beta1.InferenceService, runtimes Runtimes, settings Settings) (*Resolved, error) {
	if problems := Validate(isvc); len(problems) > 0 {
		return nil, asError(problems)
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
		written:     isvc.Spec.Predictor,
		source:      source,
		metadata:    propagated(isvc, settings),
		changeCause: isvc.Annotations[AnnotationChangeCause],
		settings:    settings,
	}
	if settings.Mode == v1beta1.DeploymentModeKnative {
		resolved.scaling = knativeScaling(isvc)
	}
	var chosen *runtime
	if spec.Model != nil {
		chosen, err = choose(spec.Model, isvc.Namespace, runtimes)
	}
	return resolved, resolved.use(chosen, err)
}

// KeepRuntime has the model served by the runtime of an earlier revision of the
// same spec, whatever would be picked today. A spec that names its runtime needs
// the runtime of that name, of whichever kind. Where the runtime cannot be had,
// what was resolved keeps its SpecInputs only, as after [Resolve].
func (r *Resolved) KeepRuntime(ref RuntimeRef, runtimes Runtimes) error {
	chosen, err := keep(ref, r.spec.Model, r.namespace, runtimes)
	failed := r.use(chosen, err)
	r.RuntimeGone = r.RuntimeGone || failed != nil && !runtimes.has(ref)
	return failed
}

// use completes what was resolved by its serving runtime, or by why there is none.
func (r *Resolved) use(chosen *runtime, err *Error) error {
	r.identify(chosen)
	r.RuntimeGone = err != nil && (err.Reason == v1beta1.RuntimeNotRecognized || err.Reason == v1beta1.RuntimeDisabled)
	if err != nil {
		return err
	}
	return nil
}

// identify fills in everything that tells one revision from another.
func (r *Resolved) identify(chosen *runtime) {
	r.Identity = Identity{
		Predictor:   digest(inputsOf(r.spec)),
		Labels:      digestsOf(r.metadata.labels, r.settings.ExcludedLabels),
		Annotations: digestsOf(r.metadata.annotations, r.settings.ExcludedAnnotations),
	}
	if r.scaling != nil {
		r.Identity.Scaling = digest(r.scaling)
	}
	if r.spec.Model != nil && r.spec.Model.Runtime != nil {
		r.Identity.RequestedRuntime = *r.spec.Model.Runtime
	}
	r.SpecInputs = r.Identity.specInputs()
	r.runtime, r.Runtime, r.Inputs = nil, RuntimeRef{}, ""
	if chosen != nil {
		r.runtime = chosen
		r.Runtime = chosen.ref
		r.Identity.Runtime = digest(chosen.inputs())
	}
	if chosen != nil || r.spec.Model == nil {
		r.Inputs = r.Identity.inputs()
	}
}
