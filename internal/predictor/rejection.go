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

// rejection is the reason why a serving runtime cannot be used for a model.
type rejection struct {
	runtime *runtime
	reason  v1beta1.FailureReason
	// text is a verb phrase whose subject is the runtime.
	text string
	// remedy tells how to make the runtime usable. It is empty if the runtime only serves other
	// formats.
	remedy string
	// wrongCase reports that the runtime lists the format in a different case.
	wrongCase bool
}

// checkRequested checks a runtime that the spec names. It returns nil if the runtime can be used.
// Such a runtime does not need autoSelect, and any of its protocols is accepted unless the spec
// sets one.
func checkRequested(r *runtime, model *v1beta1.ModelSpec) *rejection {
	if rejected := checkFit(r, model); rejected != nil {
		return rejected
	}
	if model.ProtocolVersion != nil {
		return checkProtocol(r, *model.ProtocolVersion)
	}
	return nil
}

// checkPicked checks a runtime that was picked for an existing revision. It returns nil if the
// runtime can still be used. Such a runtime no longer needs autoSelect.
func checkPicked(r *runtime, model *v1beta1.ModelSpec) *rejection {
	if rejected := checkFit(r, model); rejected != nil {
		return rejected
	}
	return checkProtocol(r, protocolOrV1(model))
}

func checkFit(r *runtime, model *v1beta1.ModelSpec) *rejection {
	if rejected := checkSupported(r); rejected != nil {
		return rejected
	}
	formats := formatsNamed(r.spec, model.ModelFormat.Name)
	if len(formats) == 0 {
		return rejectFormat(r, model.ModelFormat.Name)
	}
	return checkVersion(r, model.ModelFormat, formats)
}

// checkAutoSelect returns nil if the runtime can be picked for the model.
func checkAutoSelect(r *runtime, model *v1beta1.ModelSpec) *rejection {
	format := model.ModelFormat
	formats := formatsNamed(r.spec, format.Name)
	if len(formats) == 0 {
		return rejectFormat(r, format.Name)
	}
	if rejected := checkSupported(r); rejected != nil {
		return rejected
	}
	selectable := slices.DeleteFunc(formats, func(f v1alpha1.SupportedModelFormat) bool { return !isTrue(f.AutoSelect) })
	if len(selectable) == 0 {
		return &rejection{
			runtime: r,
			text:    fmt.Sprintf("lists %s without autoSelect: true", format.Name),
			remedy:  fmt.Sprintf("write model.runtime: %s", r.ref.Name),
		}
	}
	if rejected := checkVersion(r, format, selectable); rejected != nil {
		return rejected
	}
	return checkProtocol(r, protocolOrV1(model))
}

func checkSupported(r *runtime) *rejection {
	switch {
	case isTrue(r.spec.Disabled):
		return &rejection{
			runtime: r, reason: v1beta1.RuntimeDisabled,
			text: "is disabled", remedy: "have it enabled",
		}
	case isTrue(r.spec.MultiModel):
		return &rejection{
			runtime: r, reason: v1beta1.NoSupportingRuntime,
			text: "is for several models at a time (multiModel), which is not supported", remedy: "use another",
		}
	case r.spec.WorkerSpec != nil:
		return &rejection{
			runtime: r, reason: v1beta1.NoSupportingRuntime,
			text: "spreads a model over several nodes (workerSpec), which is not supported", remedy: "use another",
		}
	default:
		return nil
	}
}

func rejectFormat(r *runtime, name string) *rejection {
	rejected := &rejection{
		runtime: r, reason: v1beta1.NoSupportingRuntime,
		text: fmt.Sprintf("does not serve %s, but %s", name, joinWords("and", formatNames(r.spec))),
	}
	for _, format := range r.spec.SupportedModelFormats {
		if strings.EqualFold(format.Name, name) {
			rejected.text = fmt.Sprintf("does not serve %s, but %s", name, format.Name)
			rejected.remedy = fmt.Sprintf("write modelFormat.name: %s", format.Name)
			rejected.wrongCase = true
		}
	}
	return rejected
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

func checkVersion(r *runtime, requested v1beta1.ModelFormat, formats []v1alpha1.SupportedModelFormat) *rejection {
	var versions []string
	for _, format := range formats {
		if requested.Version == nil || format.Version != nil && *format.Version == *requested.Version {
			return nil
		}
		if format.Version != nil {
			versions = append(versions, fmt.Sprintf("%q", *format.Version))
		}
	}
	rejected := &rejection{runtime: r, reason: v1beta1.NoSupportingRuntime}
	switch {
	case len(versions) == 0:
		rejected.text = fmt.Sprintf("serves %s without naming a version", requested.Name)
		rejected.remedy = "remove modelFormat.version"
	default:
		rejected.text = fmt.Sprintf("serves %s in version %s, not in %q", requested.Name, joinWords("or", versions), *requested.Version)
		rejected.remedy = "write that in modelFormat.version"
	}
	return rejected
}

func checkProtocol(r *runtime, requested v1beta1.ProtocolVersion) *rejection {
	supported := r.spec.ProtocolVersions
	if len(supported) == 0 || slices.Contains(supported, requested) {
		return nil
	}
	var names []string
	for _, protocol := range supported {
		names = append(names, string(protocol))
	}
	return &rejection{
		runtime: r, reason: v1beta1.NoSupportingRuntime,
		text:   fmt.Sprintf("speaks %s, not %s", joinWords("and", names), requested),
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

func (f *rejection) errorForRequested() *Error {
	remedy := f.remedy
	if remedy == "" {
		remedy = "name a runtime that serves it"
	}
	field := modelField + ".modelFormat.name"
	if !f.wrongCase {
		field = modelField + ".runtime"
		remedy += ", or remove the field to have a runtime picked"
	}
	return &Error{
		Reason:  f.reason,
		Field:   field,
		Message: fmt.Sprintf("%s %s; %s", f.runtime, f.text, remedy),
	}
}

func (f *rejection) errorForPicked() *Error {
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

func pickedNotFound(ref RuntimeRef, all []*runtime) *Error {
	remedy := "create it again, or install another and name that one in model.runtime"
	if len(all) > 0 {
		remedy = fmt.Sprintf("create it again, or name another in model.runtime, such as %s", joinWords("or", names(all)))
	}
	return &Error{
		Reason:  v1beta1.NoSupportingRuntime,
		Field:   modelField + ".modelFormat",
		Message: fmt.Sprintf("%s %q, which was picked for this model, does not exist any more; %s", ref.Kind, ref.Name, remedy),
	}
}

func names(all []*runtime) []string {
	unique := map[string]bool{}
	for _, r := range all {
		unique[r.ref.Name] = true
	}
	return slices.Sorted(maps.Keys(unique))
}

func requestedNotFound(name, namespace string, all []*runtime) *Error {
	remedy := "there are no serving runtimes at all; install one"
	if len(all) > 0 {
		remedy = fmt.Sprintf("write %s, or remove the field to have a runtime picked", joinWords("or", names(all)))
	}
	return &Error{
		Reason: v1beta1.RuntimeNotRecognized,
		Field:  modelField + ".runtime",
		Message: fmt.Sprintf("%q is neither a ServingRuntime in namespace %s nor a ClusterServingRuntime; %s",
			name, namespace, remedy),
	}
}

func noSupportingRuntime(model *v1beta1.ModelSpec, namespace string, rejections []*rejection) *Error {
	fail := func(format string, args ...any) *Error {
		return &Error{
			Reason:  v1beta1.NoSupportingRuntime,
			Field:   modelField + ".modelFormat",
			Message: "no serving runtime serves " + describeRequirements(model) + fmt.Sprintf(format, args...),
		}
	}
	if len(rejections) == 0 {
		return fail(": there is neither a ServingRuntime in namespace %s nor a ClusterServingRuntime; install one", namespace)
	}
	var fixable, otherFormats []string
	formats := map[string]bool{}
	for _, rejected := range rejections {
		if rejected.remedy == "" {
			otherFormats = append(otherFormats, rejected.runtime.ref.Name)
		} else {
			fixable = append(fixable, fmt.Sprintf("%s %s (%s)", rejected.runtime, rejected.text, rejected.remedy))
		}
		for _, format := range rejected.runtime.spec.SupportedModelFormats {
			formats[format.Name] = true
		}
	}
	slices.Sort(otherFormats)
	if len(fixable) == 0 {
		return fail(": %s serve other formats; write %s in modelFormat.name, or install a serving runtime for %s",
			joinWords("and", otherFormats), joinWords("or", slices.Sorted(maps.Keys(formats))), model.ModelFormat.Name)
	}
	reasons := strings.Join(fixable, "; ")
	if len(otherFormats) > 0 {
		reasons += fmt.Sprintf("; %s: other formats", joinWords("and", otherFormats))
	}
	return fail(": %s", reasons)
}

func describeRequirements(model *v1beta1.ModelSpec) string {
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

func joinWords(conjunction string, words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " " + conjunction + " " + words[last]
}

func isTrue(b *bool) bool {
	return b != nil && *b
}
