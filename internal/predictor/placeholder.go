// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	corev1 "k8s.io/api/core/v1"
)

// placeholders are the values for {{.Name}}, {{.Namespace}}, {{.Labels.x}} and
// {{.Annotations.x}}. Only what propagates can be used: the rest may change
// without making a revision.
type placeholders struct {
	Name        string
	Namespace   string
	Labels      map[string]string
	Annotations map[string]string
}

func (r *Resolved) placeholders() placeholders {
	return placeholders{
		Name:      r.name,
		Namespace: r.namespace,
		Labels:    r.metadata.labels.effective(),
		Annotations: union(r.metadata.annotations.effective(),
			map[string]string{annotationModelFormat: r.spec.Model.ModelFormat.Name}),
	}
}

// maxExpandedSize bounds what the placeholders of a container come to. The API
// server stores no pod of that size.
const maxExpandedSize = 1 << 20

// expandPlaceholders replaces the placeholders in all texts of a container.
func (r *Resolved) expandPlaceholders(container *corev1.Container, values placeholders) *Error {
	room := maxExpandedSize
	err := replaceStrings(reflect.ValueOf(container).Elem(), "", func(path, text string) (string, error) {
		if !strings.Contains(text, "{{") {
			return text, nil
		}
		filled, err := values.fill(text, room)
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		room -= len(filled)
		return filled, nil
	})
	if err != nil {
		return invalid(modelField, "a placeholder in container %s of %s cannot be filled in: %v; "+
			"what can be used is .Name, .Namespace, and of the labels and annotations that propagate to pods %s",
			container.Name, r.runtime, err, values.known())
	}
	return nil
}

func (p placeholders) fill(text string, room int) (string, error) {
	parsed, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"index": lookup}).Parse(text)
	if err != nil {
		return "", errors.New(shortMessage(err, ": "))
	}
	if err := checkPlaceholders(parsed); err != nil {
		return "", err
	}
	filled := &limitedBuffer{room: room}
	if err := parsed.Execute(filled, p); err != nil {
		return "", errors.New(shortMessage(err, ">: "))
	}
	return filled.text.String(), nil
}

// checkPlaceholders refuses a template that is more than text with placeholders.
// Users write it and the operator runs it, for all namespaces: a loop would take
// all of its time or memory.
func checkPlaceholders(parsed *template.Template) error {
	for _, node := range parsed.Root.Nodes {
		if _, isText := node.(*parse.TextNode); !isText && !isPlaceholder(node) {
			return fmt.Errorf(`%q is not a placeholder; write {{.Name}}, {{.Namespace}}, {{.Labels.x}}, {{.Annotations.x}}, `+
				`{{index .Labels "x"}} or {{index .Annotations "x"}}`, truncate(node.String()))
		}
	}
	return nil
}

// isPlaceholder tells whether a node is a field, or a look-up of one key in a
// field.
func isPlaceholder(node parse.Node) bool {
	action, ok := node.(*parse.ActionNode)
	if !ok || len(action.Pipe.Decl) > 0 || len(action.Pipe.Cmds) != 1 {
		return false
	}
	args := action.Pipe.Cmds[0].Args
	switch len(args) {
	case 1:
		return args[0].Type() == parse.NodeField
	case 3:
		function, ok := args[0].(*parse.IdentifierNode)
		return ok && function.Ident == "index" && args[1].Type() == parse.NodeField && args[2].Type() == parse.NodeString
	default:
		return false
	}
}

// truncate is what of a text a message can hold.
func truncate(text string) string {
	const enough = 40
	runes := []rune(text)
	if len(runes) <= enough {
		return text
	}
	return string(runes[:enough]) + "…"
}

// limitedBuffer is a text that has a greatest length.
type limitedBuffer struct {
	text strings.Builder
	room int
}

func (b *limitedBuffer) Write(text []byte) (int, error) {
	if len(text) > b.room-b.text.Len() {
		return 0, fmt.Errorf("the placeholders come to more than %d bytes, which no pod can hold; use fewer, or shorter values", maxExpandedSize)
	}
	return b.text.Write(text)
}

// shortMessage returns an error of a template without where in the template it
// happened, and without the names of Go types.
func shortMessage(err error, separator string) string {
	parts := strings.Split(err.Error(), separator)
	message, _, _ := strings.Cut(parts[len(parts)-1], " in type ")
	return message
}

// lookup stands in for the function index, which passes over missing keys in
// silence.
func lookup(m map[string]string, key string) (string, error) {
	value, ok := m[key]
	if !ok {
		return "", fmt.Errorf("there is no key %q", key)
	}
	return value, nil
}

// known lists what can be used.
func (p placeholders) known() string {
	var names []string
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		names = append(names, fmt.Sprintf("label %q", key))
	}
	for _, key := range slices.Sorted(maps.Keys(p.Annotations)) {
		names = append(names, fmt.Sprintf("annotation %q", key))
	}
	return joinWords("and", names)
}

// replaceStrings replaces every text within a value, which it finds by its path.
func replaceStrings(v reflect.Value, path string, replace func(path, text string) (string, error)) error {
	switch v.Kind() {
	case reflect.String:
		text, err := replace(path, v.String())
		if err == nil && text != v.String() {
			v.SetString(text)
		}
		return err
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return replaceStrings(v.Elem(), path, replace)
	case reflect.Slice:
		for i := range v.Len() {
			if err := replaceStrings(v.Index(i), fmt.Sprintf("%s[%d]", path, i), replace); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if !field.IsExported() {
				continue
			}
			if err := replaceStrings(v.Field(i), fieldPath(path, field), replace); err != nil {
				return err
			}
		}
	default: // A container has no texts in maps: only quantities.
	}
	return nil
}

func fieldPath(path string, field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return strings.Trim(path+"."+name, ".")
}
