// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package crd

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	apiservervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

// validator validates objects as the API server does with strict field validation.
type validator struct {
	structural *structuralschema.Structural
	schema     apiservervalidation.SchemaValidator
	rules      *cel.Validator
}

func newValidators(t *testing.T) map[string]*validator {
	t.Helper()
	validators := map[string]*validator{}
	for _, text := range crdFiles(t) {
		crd := internalCRD(t, parseCRD(t, text))
		validators[crd.Spec.Names.Kind] = newValidator(t, crd.Spec.Validation.OpenAPIV3Schema)
	}
	return validators
}

func newValidator(t *testing.T, schema *apiextensions.JSONSchemaProps) *validator {
	t.Helper()
	structural, err := structuralschema.NewStructural(schema)
	if err != nil {
		t.Fatal(err)
	}
	schemaValidator, _, err := apiservervalidation.NewSchemaValidator(schema)
	if err != nil {
		t.Fatal(err)
	}
	return &validator{
		structural: structural,
		schema:     schemaValidator,
		rules:      cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}
}

func internalCRD(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition) *apiextensions.CustomResourceDefinition {
	t.Helper()
	internal := &apiextensions.CustomResourceDefinition{}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(crd)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd, internal, nil); err != nil {
		t.Fatal(err)
	}
	internal.Status.StoredVersions = []string{crd.Spec.Versions[0].Name}
	return internal
}

// create returns the object as the API server would store it and the validation errors.
func (v *validator) create(ctx context.Context, given *unstructured.Unstructured) (*unstructured.Unstructured, []validationError) {
	object := given.DeepCopy()
	unknown := pruning.PruneWithOptions(object.Object, v.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) > 0 {
		return nil, unknownFields(unknown)
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object.Object, v.structural)
	defaulting.Default(object.Object, v.structural)

	errs := apiservervalidation.ValidateCustomResource(nil, object.Object, v.schema)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, v.structural, object.Object)...)
	if !slices.ContainsFunc(errs, skipsRules) {
		violations, _ := v.rules.Validate(ctx, nil, v.structural, object.Object, nil, celconfig.RuntimeCELCostBudget)
		errs = append(errs, violations...)
	}
	validationErrors := make([]validationError, 0, len(errs))
	for _, err := range errs {
		validationErrors = append(validationErrors, validationError{field: err.Field, message: err.ErrorBody()})
	}
	return object, validationErrors
}

func unknownFields(paths []string) []validationError {
	validationErrors := make([]validationError, 0, len(paths))
	for _, path := range paths {
		validationErrors = append(validationErrors, validationError{field: strictDecoding, message: fmt.Sprintf("unknown field %q", path)})
	}
	return validationErrors
}

// skipsRules reports whether the API server does not evaluate validation rules after the error.
func skipsRules(err *field.Error) bool {
	switch err.Type {
	case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
		return true
	default:
		return false
	}
}
