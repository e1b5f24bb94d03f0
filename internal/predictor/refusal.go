// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

// refusal says why a serving runtime is not for a model.
type refusal struct {
	runtime *runtime
	reason  v1beta1.FailureReason
	// text continues a sentence that begins with the runtime.
	text string
	// remedy is what to do to get this runtime all the same. It is empty for a
	// runtime that serves other formats, which is no near miss.
	remedy string
	// misspelt says that only the case of the format is wrong: no other runtime serves it either.
	misspelt bool
}

// refuseNamed says why a runtime that the spec names is not for the model, or
// returns nil. Such a runtime need not allow to be picked, and it decides on the
// protocol where the spec does not.
func refuseNamed(r *runtime, model *v1beta1.ModelSpec) *refusal {
	if refused := refuseUnfit(r, model); refused != nil {
		return refused
	}
	if model.ProtocolVersion != nil {
		return refuseProtocol(r, *model.ProtocolVersion)
	}
	return nil
}

// refusePicked says why a runtime that was picked for the model earlier is not
// for it any more, or returns nil. Such a runtime need not allow to be picked
// again.
func refusePicked(r *runtime, model *v1beta1.ModelSpec) *refusal {
	if refused := refuseUnfit(r, model); refused != nil {
		return refused
	}
	return refuseProtocol(r, protocolOrV1(model))
}

// refuseUnfit refuses a runtime that is for no model at all, or not for this format.
func refuseUnfit(r *runtime, model *v1beta1.ModelSpec) *refusal {
	if refused := refuseAny(r); refused != nil {
		return refused
	}
	formats := formatsNamed(r.spec, model.ModelFormat.Name)
	if len(formats) == 0 {
		return refuseName(r, model.ModelFormat.Name)
	}
	return refuseFormat(r, model.ModelFormat, formats)
}

// refuse says why a runtime cannot be picked for the model, or returns nil.
func refuse(r *runtime, model *v1beta1.ModelSpec) *refusal {
	format := model.ModelFormat
	formats := formatsNamed(r.spec, format.Name)
	if len(formats) == 0 {
		return refuseName(r, format.Name)
	}
	if refused := refuseAny(r); refused != nil {
		return refused
	}
	selectable := slices.DeleteFunc(formats, func(f v1alpha1.SupportedModelFormat) bool { return !isTrue(f.AutoSelect) })
	if len(selectable) == 0 {
		return &refusal{
			runtime: r,
			text:    fmt.Sprintf("lists %s without autoSelect: true", format.Name),
			remedy:  fmt.Sprintf("write model.runtime: %s", r.ref.Name),
		}
	}
	if refused := refuseFormat(r, format, selectable); refused != nil {
		return refused
	}
	return refuseProtocol(r, protocolOrV1(model))
}

// refuseAny refuses a runtime that is for no model at all.
func refuseAny(r *runtime) *refusal {
	switch {
	case isTrue(r.spec.Disabled):
		return &refusal{
			runtime: r, reason: v1beta1.RuntimeDisabled,
			text: "is disabled", remedy: "have it enabled",
		}
	case isTrue(r.spec.MultiModel):
		return &refusal{
			runtime: r, reason: v1beta1.NoSupportingRuntime,
			text: "is for several models at a time (multiModel), which is not supported", remedy: "use another",
		}
	case r.spec.WorkerSpec != nil:
		return &refusal{
			runtime: r, reason: v1beta1.NoSupportingRuntime,
			text: "spreads a model over several nodes (workerSpec), which is not supported", remedy: "use another",
		}
	default:
		return nil
	}
}

// refuseName refuses a runtime that lists no format of the name.
func refuseName(r *runtime, name string) *refusal {
	refused := &refusal{
		runtime: r, reason: v1beta1.NoSupportingRuntime,
		text: fmt.Sprintf("does not serve %s, but %s", name, listed("and", formatNames(r.spec))),
	}
	for _, format := range r.spec.SupportedModelFormats {
		if strings.EqualFold(format.Name, name) {
			refused.text = fmt.Sprintf("does not serve %s, but %s", name, format.Name)
			refused.remedy = fmt.Sprintf("write modelFormat.name: %s", format.Name)
			refused.misspelt = true
		}
	}
	return refused
}

func formatNames(spec *v1alpha1.ServingRuntimeSpec) []string {
	var names []string
	for _, format := range spec.SupportedModelFormats {
		if !slices.Contains(names, format.Name) {
			names = append(names, format.Name)
		}
	}
	if len(names) == 0 {
		return []string{"no format"}
	}
	return names
}

// refuseFormat refuses a runtime that serves the format, but in none of these entries in the version that is wanted.
func refuseFormat(r *runtime, wanted v1beta1.ModelFormat, formats []v1alpha1.SupportedModelFormat) *refusal {
	var versions []string
	for _, format := range formats {
		if wanted.Version == nil || format.Version != nil && *format.Version == *wanted.Version {
			return nil
		}
		if format.Version != nil {
			versions = append(versions, fmt.Sprintf("%q", *format.Version))
		}
	}
	refused := &refusal{runtime: r, reason: v1beta1.NoSupportingRuntime}
	switch {
	case len(versions) == 0:
		refused.text = fmt.Sprintf("serves %s without naming a version", wanted.Name)
		refused.remedy = "remove modelFormat.version"
	default:
		refused.text = fmt.Sprintf("serves %s in version %s, not in %q", wanted.Name, listed("or", versions), *wanted.Version)
		refused.remedy = "write that in modelFormat.version"
	}
	return refused
}

func refuseProtocol(r *runtime, wanted v1beta1.ProtocolVersion) *refusal {
	spoken := r.spec.ProtocolVersions
	if len(spoken) == 0 || slices.Contains(spoken, wanted) {
		return nil
	}
	var names []string
	for _, protocol := range spoken {
		names = append(names, string(protocol))
	}
	return &refusal{
		runtime: r, reason: v1beta1.NoSupportingRuntime,
		text:   fmt.Sprintf("speaks %s, not %s", listed("and", names), wanted),
		remedy: fmt.Sprintf("write model.protocolVersion: %s", names[0]),
	}
}

func protocolOrV1(model *v1beta1.ModelSpec) v1beta1.ProtocolVersion {
	if model.ProtocolVersion == nil {
		return v1beta1.ProtocolV1
	}
	return *model.ProtocolVersion
}

func formatsNamed(spec *v1alpha1.ServingRuntimeSpec, name string) []v1alpha1.SupportedModelFormat {
	var formats []v1alpha1.SupportedModelFormat
	for _, format := range spec.SupportedModelFormats {
		if format.Name == name {
			formats = append(formats, format)
		}
	}
	return formats
}

// asError is the error for a runtime that the spec names.
func (f *refusal) asError() *Error {
	remedy := f.remedy
	if remedy == "" {
		remedy = "name a runtime that serves it"
	}
	field := modelField + ".modelFormat.name"
	if !f.misspelt {
		field = modelField + ".runtime"
		remedy += ", or remove the field to have a runtime picked"
	}
	return &Error{
		Reason:  f.reason,
		Field:   field,
		Message: fmt.Sprintf("%s %s; %s", f.runtime, f.text, remedy),
	}
}

// asErrorOfPicked is the error for a runtime that was picked earlier.
func (f *refusal) asErrorOfPicked() *Error {
	remedy := f.remedy
	if remedy == "" {
		remedy = "have the format added to it"
	}
	return &Error{
		Reason:  f.reason,
		Field:   modelField + ".modelFormat",
		Message: fmt.Sprintf("%s, which was picked for this model, %s; %s, or name another in model.runtime", f.runtime, f.text, remedy),
	}
}

// pickedIsGone is the error for a runtime that was picked earlier and does not
// exist any more.
func pickedIsGone(ref RuntimeRef, all []*runtime) *Error {
	remedy := "create it again, or install another and name that one in model.runtime"
	if len(all) > 0 {
		remedy = fmt.Sprintf("create it again, or name another in model.runtime, such as %s", listed("or", names(all)))
	}
	return &Error{
		Reason:  v1beta1.NoSupportingRuntime,
		Field:   modelField + ".modelFormat",
		Message: fmt.Sprintf("%s %q, which was picked for this model, does not exist any more; %s", ref.Kind, ref.Name, remedy),
	}
}

// names lists the names of runtimes.
func names(all []*runtime) []string {
	found := map[string]bool{}
	for _, r := range all {
		found[r.ref.Name] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// notThere is the error for a runtime that the spec names and that nobody has.
func notThere(name, namespace string, all []*runtime) *Error {
	remedy := "there are no serving runtimes at all; install one"
	if len(all) > 0 {
		remedy = fmt.Sprintf("write %s, or remove the field to have a runtime picked", listed("or", names(all)))
	}
	return &Error{
		Reason: v1beta1.RuntimeNotRecognized,
		Field:  modelField + ".runtime",
		Message: fmt.Sprintf("%q is neither a ServingRuntime in namespace %s nor a ClusterServingRuntime; %s",
			name, namespace, remedy),
	}
}

// nothingServes is the error for a model that no runtime can be picked for. It
// names each runtime that was considered.
func nothingServes(model *v1beta1.ModelSpec, namespace string, refusals []*refusal) *Error {
	fail := func(format string, args ...any) *Error {
		return &Error{
			Reason:  v1beta1.NoSupportingRuntime,
			Field:   modelField + ".modelFormat",
			Message: "no serving runtime serves " + describe(model) + fmt.Sprintf(format, args...),
		}
	}
	if len(refusals) == 0 {
		return fail(": there is neither a ServingRuntime in namespace %s nor a ClusterServingRuntime; install one", namespace)
	}
	var near, other []string
	formats := map[string]bool{}
	for _, refused := range refusals {
		if refused.remedy == "" {
			other = append(other, refused.runtime.ref.Name)
		} else {
			near = append(near, fmt.Sprintf("%s %s (%s)", refused.runtime, refused.text, refused.remedy))
		}
		for _, format := range refused.runtime.spec.SupportedModelFormats {
			formats[format.Name] = true
		}
	}
	slices.Sort(other)
	if len(near) == 0 {
		return fail(": %s serve other formats; write %s in modelFormat.name, or install a serving runtime for %s",
			listed("and", other), listed("or", slices.Sorted(maps.Keys(formats))), model.ModelFormat.Name)
	}
	considered := strings.Join(near, "; ")
	if len(other) > 0 {
		considered += fmt.Sprintf("; %s: other formats", listed("and", other))
	}
	return fail(": %s", considered)
}

// describe says what is wanted of a runtime.
func describe(model *v1beta1.ModelSpec) string {
	description := fmt.Sprintf("format %q", model.ModelFormat.Name)
	if model.ModelFormat.Version != nil {
		description += fmt.Sprintf(" version %q", *model.ModelFormat.Version)
	}
	description += fmt.Sprintf(" with protocol %s", protocolOrV1(model))
	if model.ProtocolVersion == nil {
		description += " (protocolVersion is not set)"
	}
	return description
}

// listed joins words as in a sentence.
func listed(conjunction string, words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " " + conjunction + " " + words[last]
}

func isTrue(b *bool) bool {
	return b != nil && *b
}
