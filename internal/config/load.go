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

// Load reads and validates the configuration file. The error lists all invalid keys.
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
	document, err := singleDocument(data)
	if err != nil {
		return nil, err
	}
	raw, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, fmt.Errorf("not valid YAML: %w", err)
	}
	config := Default()
	config.APIVersion, config.Kind = "", ""
	if errs := decode("", raw, reflect.ValueOf(config).Elem()); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	return config, nil
}

// singleDocument returns an error for a second YAML document, which the decoder would silently
// ignore.
func singleDocument(data []byte) ([]byte, error) {
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

// decode decodes JSON into a value that already contains the defaults. In contrast to
// encoding/json, it reports all errors, and the key of a value with its own decoder, such as a
// duration or quantity.
//
// A null keeps the default, because a YAML key has a null value if everything below it is commented
// out. Maps and lists replace the default.
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
		return []error{typeError(path, raw, "a mapping of keys to values")}
	}
	fields := map[string]reflect.Value{}
	for field, value := range into.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		fields[name] = value
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(members)) {
		field, known := fields[key]
		if !known {
			errs = append(errs, fmt.Errorf("%s: unknown key; known keys are %s",
				join(path, key), strings.Join(slices.Sorted(maps.Keys(fields)), ", ")))
			continue
		}
		errs = append(errs, decode(join(path, key), members[key], field)...)
	}
	return errs
}

func decodeMap(path string, raw []byte, into reflect.Value) []error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return []error{typeError(path, raw, "a mapping of keys to values")}
	}
	var errs []error
	result := reflect.MakeMap(into.Type())
	for _, key := range slices.Sorted(maps.Keys(members)) {
		value := reflect.New(into.Type().Elem()).Elem()
		errs = append(errs, decode(join(path, key), members[key], value)...)
		result.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), value)
	}
	into.Set(result)
	return errs
}

func decodeLeaf(path string, raw []byte, into reflect.Value) []error {
	// Decoding a list into its default would overwrite only its first elements.
	value := reflect.New(into.Type())
	if err := json.Unmarshal(raw, value.Interface()); err != nil {
		return []error{describe(path, raw, into, err)}
	}
	into.Set(value.Elem())
	return nil
}

func describe(path string, raw []byte, into reflect.Value, err error) error {
	switch into.Interface().(type) {
	case metav1.Duration:
		return typeError(path, raw, "a duration; write e.g. 30s")
	case resource.Quantity:
		return typeError(path, raw, "a quantity; write e.g. 500m or 2Gi")
	case HostTemplate:
		return fmt.Errorf("%s: %w", path, err)
	}
	switch into.Kind() {
	case reflect.String:
		return typeError(path, raw, "a string; put it in quotes")
	case reflect.Bool:
		return typeError(path, raw, "true or false")
	case reflect.Int, reflect.Int32, reflect.Int64:
		return typeError(path, raw, "a whole number in the allowed range")
	case reflect.Float32:
		return typeError(path, raw, "a number")
	case reflect.Slice:
		return typeError(path, raw, "a list of strings")
	default:
		return fmt.Errorf("%s: %w", path, err)
	}
}

func typeError(path string, raw []byte, what string) error {
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
