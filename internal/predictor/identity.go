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

// Identity distinguishes one revision from another. It is stored with the revision and contains
// only names and hashes.
type Identity struct {
	Predictor string `json:"predictor"`
	// Runtime is the hash of the selected serving runtime.
	Runtime string `json:"runtime,omitempty"`
	// RequestedRuntime is the serving runtime that the spec names. It distinguishes specs, not
	// revisions: naming the runtime that was picked anyway does not create a revision.
	RequestedRuntime string `json:"requestedRuntime,omitempty"`
	// Scaling is the hash of the scaling annotations. It is set in Knative mode only, where they
	// are part of the revision.
	Scaling     string       `json:"scaling,omitempty"`
	Labels      hashedValues `json:"labels,omitzero"`
	Annotations hashedValues `json:"annotations,omitzero"`
}

// hashedValues holds labels or annotations with a hash in place of each value.
type hashedValues struct {
	// Inherited holds those of the InferenceService's metadata.
	Inherited map[string]string `json:"inherited,omitempty"`
	// Own holds those of the predictor. They override Inherited.
	Own map[string]string `json:"own,omitempty"`
	// Excluded is the setting that was in effect when the hashes were computed.
	Excluded []string `json:"excluded,omitempty"`
}

// Equal reports whether two identities belong to the same revision. It ignores labels and
// annotations that are excluded in either, so that a change of the exclusions does not create a
// revision.
func (i Identity) Equal(other Identity) bool {
	return i.Runtime == other.Runtime && i.equalExceptRuntime(other)
}

// EqualSpec is like [Identity.Equal], but compares the requested serving runtime instead of the
// selected one.
func (i Identity) EqualSpec(other Identity) bool {
	return i.RequestedRuntime == other.RequestedRuntime && i.equalExceptRuntime(other)
}

// EqualModel reports whether two identities differ at most in their labels and annotations.
func (i Identity) EqualModel(other Identity) bool {
	return i.Predictor == other.Predictor && i.Runtime == other.Runtime && i.Scaling == other.Scaling
}

// DiffersInScaling reports whether two identities differ only in their scaling.
func (i Identity) DiffersInScaling(other Identity) bool {
	scaling := other.Scaling
	other.Scaling = i.Scaling
	return scaling != i.Scaling && i.Equal(other)
}

func (i Identity) equalExceptRuntime(other Identity) bool {
	return i.Predictor == other.Predictor && i.Scaling == other.Scaling &&
		i.Labels.equal(other.Labels, unpropagatedLabels) &&
		i.Annotations.equal(other.Annotations, unpropagatedAnnotations)
}

func (d hashedValues) equal(other hashedValues, unpropagated []string) bool {
	excluded := [][]string{d.Excluded, other.Excluded}
	return maps.Equal(d.effective(unpropagated, excluded...), other.effective(unpropagated, excluded...))
}

// effective returns the hashes of the keys that propagate. It applies the unpropagated list again,
// so that a later version can extend that list without creating revisions.
func (d hashedValues) effective(unpropagated []string, excluded ...[]string) map[string]string {
	return union(
		without(d.Inherited, append(excluded, unpropagated)...),
		without(d.Own, excluded...),
	)
}

func hashesOf(v values, excluded []string) hashedValues {
	return hashedValues{Inherited: hashEach(v.inherited), Own: hashEach(v.own), Excluded: excluded}
}

func hashEach(m map[string]string) map[string]string {
	result := make(map[string]string, len(m))
	for key, value := range m {
		result[key] = hash(value)
	}
	return result
}

type hashInput struct {
	Predictor        string            `json:"predictor"`
	Runtime          string            `json:"runtime"`
	RequestedRuntime string            `json:"requestedRuntime"`
	Scaling          string            `json:"scaling,omitempty"`
	Labels           map[string]string `json:"labels"`
	Annotations      map[string]string `json:"annotations"`
}

func (i Identity) hash() string {
	return hash(hashInput{
		Predictor:   i.Predictor,
		Runtime:     i.Runtime,
		Scaling:     i.Scaling,
		Labels:      i.Labels.effective(unpropagatedLabels),
		Annotations: i.Annotations.effective(unpropagatedAnnotations),
	})
}

func (i Identity) specHash() string {
	return hash(hashInput{
		Predictor:        i.Predictor,
		RequestedRuntime: i.RequestedRuntime,
		Scaling:          i.Scaling,
		Labels:           i.Labels.effective(unpropagatedLabels),
		Annotations:      i.Annotations.effective(unpropagatedAnnotations),
	})
}

func hashedSpec(spec v1beta1.PredictorSpec) v1beta1.PredictorSpec {
	spec.CanaryTrafficPercent = nil
	spec.MinReplicas = nil
	spec.MaxReplicas = 0
	spec.ScaleTarget = nil
	spec.ScaleMetric = nil
	spec.DeploymentStrategy = nil
	// Hashed key by key.
	spec.Labels = nil
	spec.Annotations = nil
	if spec.Model != nil {
		model := *spec.Model
		model.Runtime = nil
		spec.Model = &model
	}
	return spec
}

type hashedRuntime struct {
	Name       string                          `json:"name"`
	ServerType string                          `json:"serverType"`
	Pod        *v1alpha1.ServingRuntimePodSpec `json:"pod"`
}

// hashedFields uses the annotation for the server type and not serverType, whose table of names may
// grow in a later version.
func (r *runtime) hashedFields() hashedRuntime {
	return hashedRuntime{Name: r.ref.Name, ServerType: r.annotations[annotationServerType], Pod: withoutFixes(r.ref.Name, &r.spec.ServingRuntimePodSpec)}
}

// annotationFixes lists, by runtime, annotations for Prometheus that earlier versions shipped with
// wrong values.
var annotationFixes = map[string]map[string]struct{ before, after string }{
	"kserve-mlserver":           {annotationMetricsPort: {"8080", "8082"}},
	"kserve-tensorflow-serving": {annotationMetricsPath: {"/metrics", "/monitoring/prometheus/metrics"}},
}

// withoutFixes reverts annotationFixes before hashing, so that an upgrade that ships them does not
// reload any model.
func withoutFixes(runtime string, pod *v1alpha1.ServingRuntimePodSpec) *v1alpha1.ServingRuntimePodSpec {
	for annotation, value := range annotationFixes[runtime] {
		if pod.Annotations[annotation] == value.after {
			reverted := *pod
			reverted.Annotations = union(pod.Annotations, map[string]string{annotation: value.before})
			pod = &reverted
		}
	}
	return pod
}

// hash returns the first 64 bits of the SHA-256 hash of the canonical form, as 16 hexadecimal
// digits.
func hash(value any) string {
	sum := sha256.Sum256(canonical(value))
	return hex.EncodeToString(sum[:8])
}
