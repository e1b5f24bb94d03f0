// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Load reads the configuration file. The error names every mistake in it, each
// by its key, so that one start of the operator is enough to find them all.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	config, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("configuration file %s:\n%w", path, err)
	}
	return config, nil
}

func parse(data []byte) (*Config, error) {
	document, err := onlyDocument(data)
	if err != nil {
		return nil, err
	}
	raw, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, fmt.Errorf("not valid YAML: %w", err)
	}
	config := Default()
	config.APIVersion, config.Kind = "", ""
	if mistakes := decode("", raw, reflect.ValueOf(config).Elem()); len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	return config, nil
}

// onlyDocument refuses a second document, which a YAML decoder would pass over
// in silence.
func onlyDocument(data []byte) ([]byte, error) {
	var documents [][]byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not valid YAML: %w", err)
		}
		if len(bytes.TrimSpace(document)) > 0 {
			documents = append(documents, document)
		}
	}
	switch len(documents) {
	case 0:
		return nil, nil
	case 1:
		return documents[0], nil
	default:
		return nil, fmt.Errorf("has %d YAML documents; write one", len(documents))
	}
}

// decode reads JSON into a value that already holds the defaults. It exists
// because encoding/json does not say under which key a value was refused that
// decodes itself, such as a duration or a quantity, and stops at the first.
//
// A null keeps the default: it is what YAML makes of a key under which
// everything was commented out. Maps and lists replace the default.
func decode(path string, raw []byte, into reflect.Value) []error {
	if string(raw) == "null" {
		return nil
	}
	if _, ok := reflect.TypeAssert[json.Unmarshaler](into.Addr()); ok {
		return decodeLeaf(path, raw, into)
	}
	switch into.Kind() {
	case reflect.Struct:
		return decodeStruct(path, raw, into)
	case reflect.Map:
		return decodeMap(path, raw, into)
	case reflect.Pointer:
		value := reflect.New(into.Type().Elem())
		into.Set(value)
		return decode(path, raw, value.Elem())
	default:
		return decodeLeaf(path, raw, into)
	}
}

func decodeStruct(path string, raw []byte, into reflect.Value) []error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return []error{notA(path, raw, "a mapping of keys to values")}
	}
	fields := map[string]reflect.Value{}
	for field, value := range into.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		fields[name] = value
	}
	var mistakes []error
	for _, key := range slices.Sorted(maps.Keys(members)) {
		field, known := fields[key]
		if !known {
			mistakes = append(mistakes, fmt.Errorf("%s: unknown key; the known ones here are %s",
				join(path, key), strings.Join(slices.Sorted(maps.Keys(fields)), ", ")))
			continue
		}
		mistakes = append(mistakes, decode(join(path, key), members[key], field)...)
	}
	return mistakes
}

func decodeMap(path string, raw []byte, into reflect.Value) []error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return []error{notA(path, raw, "a mapping of keys to values")}
	}
	var mistakes []error
	result := reflect.MakeMap(into.Type())
	for _, key := range slices.Sorted(maps.Keys(members)) {
		value := reflect.New(into.Type().Elem()).Elem()
		mistakes = append(mistakes, decode(join(path, key), members[key], value)...)
		result.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), value)
	}
	into.Set(result)
	return mistakes
}

func decodeLeaf(path string, raw []byte, into reflect.Value) []error {
	// A list must replace its default, not be written over its first elements.
	value := reflect.New(into.Type())
	if err := json.Unmarshal(raw, value.Interface()); err != nil {
		return []error{describe(path, raw, into, err)}
	}
	into.Set(value.Elem())
	return nil
}

// describe turns the error of a decoder into one that says what to write.
func describe(path string, raw []byte, into reflect.Value, err error) error {
	switch into.Interface().(type) {
	case metav1.Duration:
		return notA(path, raw, "a duration; write e.g. 30s")
	case resource.Quantity:
		return notA(path, raw, "a quantity; write e.g. 500m or 2Gi")
	case HostTemplate:
		return fmt.Errorf("%s: %w", path, err)
	}
	switch into.Kind() {
	case reflect.String:
		return notA(path, raw, "a string; put it in quotes")
	case reflect.Bool:
		return notA(path, raw, "true or false")
	case reflect.Int, reflect.Int32, reflect.Int64:
		return notA(path, raw, "a whole number that fits")
	case reflect.Float32:
		return notA(path, raw, "a number")
	case reflect.Slice:
		return notA(path, raw, "a list of strings")
	default:
		return fmt.Errorf("%s: %w", path, err)
	}
}

func notA(path string, raw []byte, what string) error {
	if path == "" {
		return fmt.Errorf("%s is not %s", raw, what)
	}
	return fmt.Errorf("%s: %s is not %s", path, raw, what)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
