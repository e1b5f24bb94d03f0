// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// schema is a short name of a type that has a long one.
type schema = apiextensionsv1.JSONSchemaProps

// versionAnnotation says which controller-gen wrote a CRD. The module that pins
// it says so already, and a CRD should only change with the types.
const versionAnnotation = "controller-gen.kubebuilder.io/version"

// servingContainer is the name of a predictor's container that has none.
const servingContainer = "kserve-container"

// frameworks are the fields of a predictor that are an old way to write model.
var frameworks = []string{
	"huggingface", "lightgbm", "onnx", "paddle", "pmml", "pytorch", "sklearn", "tensorflow", "triton", "xgboost",
}

// How many levels of Kubernetes' own fields keep a description, counted from the
// last field that is the project's. An InferenceService holds the fields of a
// container thirteen times, and so has no room for all.
const (
	allLevels       = 100
	modelLevels     = 2
	predictorLevels = 1
	frameworkLevels = 0
)

func finish(crd *apiextensionsv1.CustomResourceDefinition, own comments) error {
	delete(crd.Annotations, versionAnnotation)
	for i := range crd.Spec.Versions {
		root := crd.Spec.Versions[i].Schema.OpenAPIV3Schema
		dropDefaults(root)
		narrowQuantities(root)
		describe(root, own, allLevels)
		if crd.Spec.Names.Kind != "InferenceService" {
			continue
		}
		if err := edit(root, finishPredictor(own), "spec", "predictor"); err != nil {
			return err
		}
		if err := edit(root, acceptKServesStatus, "status"); err != nil {
			return err
		}
	}
	return nil
}

func finishPredictor(own comments) func(*schema) error {
	return func(predictor *schema) error {
		for name, field := range predictor.Properties {
			describe(&field, own, levelsOf(name))
			predictor.Properties[name] = field
		}
		for _, name := range append([]string{"model"}, frameworks...) {
			if err := edit(predictor, refuseName, name); err != nil {
				return err
			}
		}
		return edit(predictor, func(containers *schema) error {
			return nameServingContainer(containers.Items.Schema)
		}, "containers")
	}
}

func levelsOf(predictorField string) int {
	switch {
	case predictorField == "initContainers":
		return frameworkLevels
	case predictorField == "model":
		return modelLevels
	case slices.Contains(frameworks, predictorField):
		return frameworkLevels
	default:
		return predictorLevels
	}
}

// acceptKServesStatus adds the fields that KServe writes into a status and Serinus does not, so that a strict kubectl
// apply accepts an object that was exported from a cluster with KServe. The API server drops the status of an applied
// object.
func acceptKServesStatus(status *schema) error {
	kserves := func(field schema) schema {
		field.Description = "Written by KServe only."
		return field
	}
	text := kserves(schema{Type: "string"})
	add := func(field schema, names ...string) func(*schema) error {
		return func(s *schema) error {
			for _, name := range names {
				s.Properties[name] = field
			}
			return nil
		}
	}
	addAddress := add(text, "CACerts", "audience", "name")
	return errors.Join(
		add(kserves(schema{
			Type: "object", AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true, Schema: &schema{Type: "string"}},
		}), "annotations")(status),
		add(kserves(schema{
			Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &schema{Type: "object", XPreserveUnknownFields: new(true)}},
		}), "canaryStatuses")(status),
		edit(status, addAddress, "address"),
		edit(status, func(components *schema) error {
			return edit(components.AdditionalProperties.Schema, addAddress, "address")
		}, "components"),
		edit(status, func(conditions *schema) error {
			return add(text, "severity")(conditions.Items.Schema)
		}, "conditions"),
	)
}

// dropDefaults leaves out what a list is when nothing is said.
func dropDefaults(s *schema) {
	if s.XListType != nil && *s.XListType == "atomic" {
		s.XListType = nil
	}
	eachPart(s, dropDefaults)
}

// How the pattern of a quantity writes an exponent, and how it may. To read
// 1e-999999999 takes all the memory that there is, and whoever watches the
// objects of all namespaces reads it.
const (
	anyExponent   = `[eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))`
	shortExponent = `[eE](\+|-)?[0-9]{1,2}`
)

func narrowQuantities(s *schema) {
	s.Pattern = strings.Replace(s.Pattern, anyExponent, shortExponent, 1)
	eachPart(s, narrowQuantities)
}

// refuseName makes the name of a model's container optional, and says what a rule
// of the types makes of it. The field is in a type of Kubernetes' and so cannot
// have a description of ours.
func refuseName(model *schema) error {
	if err := nameIsOptional(model); err != nil {
		return err
	}
	return edit(model, func(name *schema) error {
		name.Description = "Refused by the API server: the container is always called " + servingContainer + "."
		return nil
	}, "name")
}

// nameServingContainer gives a container without a name that of the one that
// serves. The name is the key by which server-side apply tells containers apart,
// and so cannot be absent.
func nameServingContainer(container *schema) error {
	if err := nameIsOptional(container); err != nil {
		return err
	}
	value, err := json.Marshal(servingContainer)
	if err != nil {
		return err
	}
	return edit(container, func(name *schema) error {
		name.Default = &apiextensionsv1.JSON{Raw: value}
		name.MinLength = new(int64(1))
		return nil
	}, "name")
}

func nameIsOptional(s *schema) error {
	i := slices.Index(s.Required, "name")
	if i < 0 {
		return errors.New("name is not required any more: take this step out of the generator")
	}
	s.Required = slices.Delete(s.Required, i, i+1)
	return nil
}

// edit changes a property of a property.
func edit(s *schema, change func(*schema) error, path ...string) error {
	if len(path) == 0 {
		return change(s)
	}
	property, ok := s.Properties[path[0]]
	if !ok {
		return fmt.Errorf("there is no property %q", path[0])
	}
	if err := edit(&property, change, path[1:]...); err != nil {
		return fmt.Errorf("%s: %w", path[0], err)
	}
	s.Properties[path[0]] = property
	return nil
}

// eachPart changes the schemas that a schema is made of.
func eachPart(s *schema, change func(*schema)) {
	for name, property := range s.Properties {
		change(&property)
		s.Properties[name] = property
	}
	if s.Items != nil {
		change(s.Items.Schema)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		change(s.AdditionalProperties.Schema)
	}
}
