// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

// Identity is what one revision is told from another by. It is stored with a
// revision, and holds nothing but names and digests.
type Identity struct {
	// Predictor is a digest of the spec.
	Predictor string `json:"predictor"`
	// Runtime is a digest of the serving runtime that was chosen.
	Runtime string `json:"runtime,omitempty"`
	// RequestedRuntime is the serving runtime that the spec names. It tells specs
	// apart, not revisions: to name the runtime that had been picked anyway changes
	// nothing.
	RequestedRuntime string `json:"requestedRuntime,omitempty"`
	// Scaling is a digest of how the revision scales, where that is part of it: Knative keeps it with the revision.
	Scaling     string  `json:"scaling,omitempty"`
	Labels      Digests `json:"labels,omitzero"`
	Annotations Digests `json:"annotations,omitzero"`
}

// Digests are labels, or annotations, with a digest in place of each value.
type Digests struct {
	// Inherited are from the metadata of the InferenceService.
	Inherited map[string]string `json:"inherited,omitempty"`
	// Own are from its predictor, and win.
	Own map[string]string `json:"own,omitempty"`
	// Excluded is the setting under which the digests were taken.
	Excluded []string `json:"excluded,omitempty"`
}

// Equal tells whether two identities are those of the same revision. Labels and
// annotations that were excluded when either was made do not count, so that to
// exclude one, or no longer to, makes no revision.
func (i Identity) Equal(other Identity) bool {
	return i.Runtime == other.Runtime && i.equalButForRuntime(other)
}

// EqualSpec is like [Identity.Equal] but compares the serving runtime that the
// spec names, not the one that was chosen.
func (i Identity) EqualSpec(other Identity) bool {
	return i.RequestedRuntime == other.RequestedRuntime && i.equalButForRuntime(other)
}

// EqualModel reports whether both run the same, whatever labels and annotations propagate to the pods.
func (i Identity) EqualModel(other Identity) bool {
	return i.Predictor == other.Predictor && i.Runtime == other.Runtime && i.Scaling == other.Scaling
}

// DiffersInScaling reports whether two identities differ only in how the revision scales.
func (i Identity) DiffersInScaling(other Identity) bool {
	scaling := other.Scaling
	other.Scaling = i.Scaling
	return scaling != i.Scaling && i.Equal(other)
}

func (i Identity) equalButForRuntime(other Identity) bool {
	return i.Predictor == other.Predictor && i.Scaling == other.Scaling &&
		i.Labels.equal(other.Labels, unpropagatedLabels) &&
		i.Annotations.equal(other.Annotations, unpropagatedAnnotations)
}

func (d Digests) equal(other Digests, unpropagated []string) bool {
	excluded := [][]string{d.Excluded, other.Excluded}
	return maps.Equal(d.effective(unpropagated, excluded...), other.effective(unpropagated, excluded...))
}

// effective returns the digests of what propagates. To apply what never
// propagates once more lets a later version extend that list without making
// revisions.
func (d Digests) effective(unpropagated []string, excluded ...[]string) map[string]string {
	return union(
		without(d.Inherited, append(excluded, unpropagated)...),
		without(d.Own, excluded...),
	)
}

func digestsOf(v values, excluded []string) Digests {
	return Digests{Inherited: digestEach(v.inherited), Own: digestEach(v.own), Excluded: excluded}
}

func digestEach(m map[string]string) map[string]string {
	result := make(map[string]string, len(m))
	for key, value := range m {
		result[key] = digest(value)
	}
	return result
}

// identified is what an identity comes down to in one digest.
type identified struct {
	Predictor        string            `json:"predictor"`
	Runtime          string            `json:"runtime"`
	RequestedRuntime string            `json:"requestedRuntime"`
	Scaling          string            `json:"scaling,omitempty"`
	Labels           map[string]string `json:"labels"`
	Annotations      map[string]string `json:"annotations"`
}

func (i Identity) inputs() string {
	return digest(identified{
		Predictor:   i.Predictor,
		Runtime:     i.Runtime,
		Scaling:     i.Scaling,
		Labels:      i.Labels.effective(unpropagatedLabels),
		Annotations: i.Annotations.effective(unpropagatedAnnotations),
	})
}

func (i Identity) specInputs() string {
	return digest(identified{
		Predictor:        i.Predictor,
		RequestedRuntime: i.RequestedRuntime,
		Scaling:          i.Scaling,
		Labels:           i.Labels.effective(unpropagatedLabels),
		Annotations:      i.Annotations.effective(unpropagatedAnnotations),
	})
}

// inputsOf returns the part of a normalised predictor that makes revisions.
func inputsOf(spec v1beta1.PredictorSpec) v1beta1.PredictorSpec {
	spec.CanaryTrafficPercent = nil
	spec.MinReplicas = nil
	spec.MaxReplicas = 0
	spec.ScaleTarget = nil
	spec.ScaleMetric = nil
	spec.DeploymentStrategy = nil
	// These are compared one by one.
	spec.Labels = nil
	spec.Annotations = nil
	if spec.Model != nil {
		model := *spec.Model
		model.Runtime = nil
		spec.Model = &model
	}
	return spec
}

// runtimeInputs is the part of a serving runtime that reaches the pods.
type runtimeInputs struct {
	Name       string                          `json:"name"`
	ServerType string                          `json:"serverType"`
	Pod        *v1alpha1.ServingRuntimePodSpec `json:"pod"`
}

// inputs returns what is written in the runtime, not what this package makes
// of it: the server type that a name stands for is this package's knowledge,
// which may grow.
func (r *runtime) inputs() runtimeInputs {
	return runtimeInputs{Name: r.ref.Name, ServerType: r.annotations[annotationServerType], Pod: uncorrected(r.ref.Name, &r.spec.ServingRuntimePodSpec)}
}

// corrections are annotations that runtimes were shipped with, and what stands in their place now, by runtime. They tell
// Prometheus where to look.
var corrections = map[string]map[string]struct{ was, is string }{
	"kserve-mlserver":           {annotationMetricsPort: {"8080", "8082"}},
	"kserve-tensorflow-serving": {annotationMetricsPath: {"/metrics", "/monitoring/prometheus/metrics"}},
}

// uncorrected returns a pod as it was before the corrections: an upgrade that brings them must load no model again.
func uncorrected(runtime string, pod *v1alpha1.ServingRuntimePodSpec) *v1alpha1.ServingRuntimePodSpec {
	for annotation, value := range corrections[runtime] {
		if pod.Annotations[annotation] == value.is {
			corrected := *pod
			corrected.Annotations = union(pod.Annotations, map[string]string{annotation: value.was})
			pod = &corrected
		}
	}
	return pod
}

// digest returns 16 hexadecimal digits that stand for a value.
func digest(value any) string {
	sum := sha256.Sum256(canonical(value))
	return hex.EncodeToString(sum[:8])
}
