// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestCanonicalForm(t *testing.T) {
	type Object struct {
		Text     string             `json:"text"`
		Number   *int32             `json:"number,omitempty"`
		List     []string           `json:"list,omitempty"`
		Map      map[string]string  `json:"map,omitempty"`
		Quantity resource.Quantity  `json:"quantity"`
		Port     intstr.IntOrString `json:"port"`
	}
	cases := map[string]struct {
		object any
		want   string
	}{
		"empty":                      {Object{}, "de"},
		"text with its length":       {Object{Text: "grün"}, "d4:text5:grüne"},
		"zero behind a pointer":      {Object{Number: new(int32(0))}, "d6:numberi0ee"},
		"keys are sorted":            {Object{Map: map[string]string{"b": "", "a": "x"}}, "d3:mapd1:a1:x1:b0:ee"},
		"a list keeps its order":     {Object{List: []string{"b", "a"}}, "d4:listl1:b1:aee"},
		"a fraction":                 {Object{Quantity: resource.MustParse("1500m")}, "d8:quantity3:3/2e"},
		"a binary unit":              {Object{Quantity: resource.MustParse("2Gi")}, "d8:quantity10:2147483648e"},
		"port number":                {Object{Port: intstr.FromInt32(80)}, "d4:porti80ee"},
		"port name":                  {Object{Port: intstr.FromString("80")}, "d4:port2:80e"},
		"inlined struct":             {struct{ Object }{Object{Text: "x"}}, "d4:text1:xe"},
		"empty struct":               {corev1.Container{Resources: corev1.ResourceRequirements{}}, "de"},
		"pointer to an empty struct": {corev1.Container{SecurityContext: &corev1.SecurityContext{}}, "d15:securityContextdee"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if got := string(canonical(test.object)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestCanonicalSupportsEveryField fails if the API gets a field of an unsupported kind.
func TestCanonicalSupportsEveryField(t *testing.T) {
	for _, object := range []any{v1beta1.PredictorSpec{}, v1alpha1.ServingRuntimePodSpec{}} {
		filled := reflect.New(reflect.TypeOf(object)).Elem()
		fill(filled)
		if form := canonical(filled.Interface()); len(form) < 5_000 {
			t.Errorf("%T: the encoding of an object with every field set has only %d bytes", object, len(form))
		}
	}
}

func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case resource.Quantity:
		v.Set(reflect.ValueOf(resource.MustParse("3")))
		return
	case intstr.IntOrString:
		v.Set(reflect.ValueOf(intstr.FromInt32(3)))
		return
	case metav1.Time:
		v.Set(reflect.ValueOf(metav1.Unix(3, 0)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("{}"))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	default:
		v.SetInt(3)
	}
}

// TestCanonicalOmitsSchemaDefaults reads the CRDs. A default that changes the hash would reload
// every model.
func TestCanonicalOmitsSchemaDefaults(t *testing.T) {
	schemas := map[string]struct {
		path []string
		root reflect.Type
	}{
		"serving.kserve.io_inferenceservices.yaml": {[]string{"spec", "predictor"}, reflect.TypeFor[v1beta1.PredictorSpec]()},
		"serving.kserve.io_servingruntimes.yaml":   {[]string{"spec"}, reflect.TypeFor[v1alpha1.ServingRuntimeSpec]()},
	}
	for file, schema := range schemas {
		root := readSchema(t, filepath.Join("..", "..", "config", "crd", "bases", file))
		for _, name := range schema.path {
			root = root.Properties[name]
		}
		defaults := 0
		root.eachDefault("", schema.root, func(path string, parent reflect.Type, name string, value json.RawMessage) {
			defaults++
			if parent == reflect.TypeFor[corev1.Container]() && name == "name" {
				return // Handled by normalise.
			}
			filled := reflect.New(parent)
			text := fmt.Sprintf("{%q: %s}", name, value)
			if err := json.Unmarshal([]byte(text), filled.Interface()); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if form := string(canonical(filled.Elem().Interface())); form != "de" {
				t.Errorf("%s of %s changes the hash if the API server sets its default (%s); add it to schemaDefaults", path, parent, text)
			}
		})
		if defaults == 0 {
			t.Errorf("%s: no defaults found; has the schema moved?", file)
		}
	}
}

type schema struct {
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
	Default    json.RawMessage    `json:"default"`
}

func readSchema(t *testing.T, path string) *schema {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema *schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

func (s *schema) eachDefault(path string, t reflect.Type, visit func(path string, parent reflect.Type, name string, value json.RawMessage)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s.Items != nil {
		s.Items.eachDefault(path+"[]", t.Elem(), visit)
	}
	for name, property := range s.Properties {
		field, parent := fieldNamed(t, name)
		if field == nil {
			continue
		}
		if property.Default != nil {
			visit(path+"."+name, parent, name, property.Default)
		}
		property.eachDefault(path+"."+name, field, visit)
	}
}

func fieldNamed(t reflect.Type, name string) (field, parent reflect.Type) {
	if t.Kind() != reflect.Struct {
		return nil, nil
	}
	for candidate := range t.Fields() {
		tag, _, _ := strings.Cut(candidate.Tag.Get("json"), ",")
		if tag == name {
			return candidate.Type, t
		}
		if candidate.Anonymous && tag == "" {
			if field, parent := fieldNamed(candidate.Type, name); field != nil {
				return field, parent
			}
		}
	}
	return nil, nil
}
