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

type schema = apiextensionsv1.JSONSchemaProps

// versionAnnotation contains the version of controller-gen. It is removed, so that CRDs change only
// with the types.
const versionAnnotation = "controller-gen.kubebuilder.io/version"

const servingContainer = "kserve-container"

// frameworks are the legacy predictor fields for model.
var frameworks = []string{
	"huggingface", "lightgbm", "onnx", "paddle", "pmml", "pytorch", "sklearn", "tensorflow", "triton", "xgboost",
}

// The number of levels of Kubernetes' fields below a field of the project that keep their
// descriptions. An InferenceService contains the fields of a container thirteen times, so there is
// no room for all.
const (
	allLevels           = 100
	modelLevels         = 2
	predictorLevels     = 1
	initContainerLevels = 0
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
			if slices.Contains(frameworks, name) {
				forEachChild(&field, dropDescriptions)
			}
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
	switch predictorField {
	case "initContainers":
		return initContainerLevels
	case "model":
		return modelLevels
	default:
		return predictorLevels
	}
}

// acceptKServesStatus adds the status fields that only KServe writes. Strict validation in kubectl
// apply then accepts objects that were exported from a cluster with KServe. The API server ignores
// the status of an applied object.
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

func dropDescriptions(s *schema) {
	s.Description = ""
	forEachChild(s, dropDescriptions)
}

func dropDefaults(s *schema) {
	if s.XListType != nil && *s.XListType == "atomic" {
		s.XListType = nil
	}
	forEachChild(s, dropDefaults)
}

// The exponents in the pattern of a quantity, and those that are allowed. Parsing 1e-999999999
// exhausts the memory of every client that watches all namespaces.
const (
	anyExponent   = `[eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))`
	shortExponent = `[eE](\+|-)?[0-9]{1,2}`
)

func narrowQuantities(s *schema) {
	s.Pattern = strings.Replace(s.Pattern, anyExponent, shortExponent, 1)
	forEachChild(s, narrowQuantities)
}

// refuseName makes the name of a model's container optional, and describes the validation rule that
// rejects it. The field is in Kubernetes' Container, so the types cannot describe it.
func refuseName(model *schema) error {
	if err := makeNameOptional(model); err != nil {
		return err
	}
	return edit(model, func(name *schema) error {
		name.Description = "Refused by the API server: the container is always called " + servingContainer + "."
		return nil
	}, "name")
}

// nameServingContainer sets the default name of a container. Server-side apply requires a name,
// because it is the list's key.
func nameServingContainer(container *schema) error {
	if err := makeNameOptional(container); err != nil {
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

func makeNameOptional(s *schema) error {
	i := slices.Index(s.Required, "name")
	if i < 0 {
		return errors.New("name is not required any more: take this step out of the generator")
	}
	s.Required = slices.Delete(s.Required, i, i+1)
	return nil
}

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

func forEachChild(s *schema, change func(*schema)) {
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
