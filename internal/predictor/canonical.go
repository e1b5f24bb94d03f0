// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// canonical encodes an API object so that two objects have the same encoding if and only if they
// are equal. The encoding must never change between versions:
//
//   - Fields are sorted by their JSON names.
//   - Empty fields are omitted, so that fields can be added to the API. A pointer is empty only if
//     it is nil: "automountServiceAccountToken: false" and "namespaceSelector: {}" have a meaning.
//   - A quantity is encoded as a number, without its unit.
//   - Defaults that the API server fills in are omitted.
//
// The encoding is bencode. Unlike JSON, it has exactly one form for each value, so the result does
// not depend on the version of a library.
func canonical(value any) []byte {
	return appendValue(nil, reflect.ValueOf(value))
}

func appendValue(out []byte, v reflect.Value) []byte {
	switch x := v.Interface().(type) {
	case resource.Quantity:
		return appendText(out, rational(x))
	case intstr.IntOrString:
		if x.Type == intstr.String {
			return appendText(out, x.StrVal)
		}
		return appendInt(out, int64(x.IntVal))
	case json.Marshaler: // For example metav1.Time and metav1.FieldsV1.
		if v.Kind() != reflect.Pointer {
			return appendMarshaled(out, x)
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		return appendValue(out, v.Elem())
	case reflect.Struct:
		return appendStruct(out, v)
	case reflect.Map:
		return appendMap(out, v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return appendText(out, string(v.Bytes()))
		}
		out = append(out, 'l')
		for i := range v.Len() {
			out = appendValue(out, v.Index(i))
		}
		return append(out, 'e')
	case reflect.String:
		return appendText(out, v.String())
	case reflect.Bool:
		return appendText(out, strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendInt(out, v.Int())
	default:
		panic(fmt.Sprintf("predictor: no canonical form for %s", v.Type()))
	}
}

func appendText(out []byte, s string) []byte {
	out = strconv.AppendInt(out, int64(len(s)), 10)
	out = append(out, ':')
	return append(out, s...)
}

func appendInt(out []byte, n int64) []byte {
	out = append(out, 'i')
	out = strconv.AppendInt(out, n, 10)
	return append(out, 'e')
}

func appendMarshaled(out []byte, value json.Marshaler) []byte {
	text, err := value.MarshalJSON()
	if err != nil {
		panic(fmt.Sprintf("predictor: no canonical form for %T: %v", value, err))
	}
	return appendText(out, string(text))
}

func appendStruct(out []byte, v reflect.Value) []byte {
	fields := map[string]reflect.Value{}
	collectFields(fields, v)
	out = append(out, 'd')
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		out = appendText(out, name)
		out = appendValue(out, fields[name])
	}
	return append(out, 'e')
}

func collectFields(fields map[string]reflect.Value, v reflect.Value) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case !field.IsExported() || name == "-" || isEmpty(v.Field(i)) || isSchemaDefault(v, name, v.Field(i)):
		case field.Anonymous && name == "":
			collectFields(fields, v.Field(i))
		default:
			fields[name] = v.Field(i)
		}
	}
}

var schemaDefaults = map[reflect.Type]map[string]any{
	reflect.TypeFor[corev1.ContainerPort]():         {"protocol": corev1.ProtocolTCP},
	reflect.TypeFor[corev1.GRPCAction]():            {"service": ""},
	reflect.TypeFor[corev1.FileKeySelector]():       {"optional": false},
	reflect.TypeFor[corev1.AzureDiskVolumeSource](): {"fsType": "ext4", "readOnly": false},
	reflect.TypeFor[corev1.ISCSIVolumeSource]():     {"iscsiInterface": "default"},
	reflect.TypeFor[corev1.RBDVolumeSource]():       {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
	reflect.TypeFor[corev1.ScaleIOVolumeSource]():   {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}

func isSchemaDefault(parent reflect.Value, name string, v reflect.Value) bool {
	value, ok := schemaDefaults[parent.Type()][name]
	return ok && reflect.Indirect(v).Interface() == value
}

func isEmpty(v reflect.Value) bool {
	switch x := v.Interface().(type) {
	case resource.Quantity:
		return x.IsZero()
	case intstr.IntOrString:
		return x == intstr.IntOrString{}
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Struct:
		if _, ok := reflect.TypeAssert[json.Marshaler](v); ok {
			return v.IsZero()
		}
		fields := map[string]reflect.Value{}
		collectFields(fields, v)
		return len(fields) == 0
	default:
		return v.IsZero()
	}
}

func appendMap(out []byte, v reflect.Value) []byte {
	values := map[string]reflect.Value{}
	for _, key := range v.MapKeys() {
		values[key.String()] = v.MapIndex(key)
	}
	out = append(out, 'd')
	for _, key := range slices.Sorted(maps.Keys(values)) {
		out = appendText(out, key)
		out = appendValue(out, values[key])
	}
	return append(out, 'e')
}
