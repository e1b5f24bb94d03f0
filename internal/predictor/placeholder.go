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

// placeholders holds the values for {{.Name}}, {{.Namespace}}, {{.Labels.x}} and
// {{.Annotations.x}}. It contains only the labels and annotations that propagate, because a change
// of the others does not create a revision.
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

// maxExpandedSize limits the size of a container's expanded placeholders. The API server does not
// store a pod of that size.
const maxExpandedSize = 1 << 20

func (r *Resolved) expandPlaceholders(container *corev1.Container, values placeholders) *Error {
	remaining := maxExpandedSize
	err := replaceStrings(reflect.ValueOf(container).Elem(), "", func(path, text string) (string, error) {
		if !strings.Contains(text, "{{") {
			return text, nil
		}
		expanded, err := values.expand(text, remaining)
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		remaining -= len(expanded)
		return expanded, nil
	})
	if err != nil {
		return invalid(modelField, "a placeholder in container %s of %s cannot be expanded: %v; "+
			"available are .Name, .Namespace, and these labels and annotations that propagate to pods: %s",
			container.Name, r.runtime, err, values.available())
	}
	return nil
}

func (p placeholders) expand(text string, limit int) (string, error) {
	parsed, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"index": lookup}).Parse(text)
	if err != nil {
		return "", errors.New(shortMessage(err, ": "))
	}
	if err := checkPlaceholders(parsed); err != nil {
		return "", err
	}
	expanded := &limitedBuffer{limit: limit}
	if err := parsed.Execute(expanded, p); err != nil {
		return "", errors.New(shortMessage(err, ">: "))
	}
	return expanded.text.String(), nil
}

// checkPlaceholders rejects a template that contains anything but text and placeholders. Users
// write the template and the operator executes it: a loop could exhaust the operator's CPU or
// memory.
func checkPlaceholders(parsed *template.Template) error {
	for _, node := range parsed.Root.Nodes {
		if _, isText := node.(*parse.TextNode); !isText && !isPlaceholder(node) {
			return fmt.Errorf(`%q is not a placeholder; write {{.Name}}, {{.Namespace}}, {{.Labels.x}}, {{.Annotations.x}}, `+
				`{{index .Labels "x"}} or {{index .Annotations "x"}}`, truncate(node.String()))
		}
	}
	return nil
}

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

func truncate(text string) string {
	const maxRunes = 40
	runes := []rune(text)
	if len(runes) <= maxRunes {
		return text
	}
	return string(runes[:maxRunes]) + "…"
}

type limitedBuffer struct {
	text  strings.Builder
	limit int
}

func (b *limitedBuffer) Write(text []byte) (int, error) {
	if len(text) > b.limit-b.text.Len() {
		return 0, fmt.Errorf("the placeholders expand to more than %d bytes, which is too large for a pod; use fewer placeholders, or shorter values", maxExpandedSize)
	}
	return b.text.Write(text)
}

// shortMessage returns the message of a template's error without its position and without the names
// of Go types.
func shortMessage(err error, separator string) string {
	parts := strings.Split(err.Error(), separator)
	message, _, _ := strings.Cut(parts[len(parts)-1], " in type ")
	return message
}

// lookup replaces the built-in function index, which ignores missing keys.
func lookup(m map[string]string, key string) (string, error) {
	value, ok := m[key]
	if !ok {
		return "", fmt.Errorf("there is no key %q", key)
	}
	return value, nil
}

func (p placeholders) available() string {
	var names []string
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		names = append(names, fmt.Sprintf("label %q", key))
	}
	for _, key := range slices.Sorted(maps.Keys(p.Annotations)) {
		names = append(names, fmt.Sprintf("annotation %q", key))
	}
	return joinWords("and", names)
}

// replaceStrings calls replace for every string within a value, with the path of its field.
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
	default: // The only maps of a container hold quantities.
	}
	return nil
}

func fieldPath(path string, field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return strings.Trim(path+"."+name, ".")
}
