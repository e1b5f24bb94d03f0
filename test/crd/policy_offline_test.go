// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package crd

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	celgo "github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// TestPoliciesOffline evaluates the policies with the API server's library.
func TestPoliciesOffline(t *testing.T) {
	evaluate := newPolicies(t, "deploymentMode: Standard\n")
	for name, test := range rejectedByPolicies {
		t.Run("reject "+name, func(t *testing.T) {
			got := evaluate(t, test.given.applyTo(newInferenceService("iris", nil)), nil)
			if !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	for name, test := range acceptedByPolicies {
		t.Run("accept "+name, func(t *testing.T) {
			isvc := test.given.applyTo(newInferenceService("iris", nil))
			if got := evaluate(t, isvc, nil); got != "" {
				t.Errorf("rejected: %s", got)
			}
		})
	}
	for name, test := range rejectedByPolicies {
		t.Run("accept an update of a stored object with "+name, func(t *testing.T) {
			stored := test.given.applyTo(newInferenceService("iris", nil))
			changed := predictorWith("canaryTrafficPercent", int64(0)).applyTo(stored.DeepCopy())
			if got := evaluate(t, changed, stored); got != "" {
				t.Errorf("rejected: %s", got)
			}
		})
	}
	for _, m := range mustReadManifests(t, "accepted") {
		if m.object.GetKind() == "InferenceService" && !strings.Contains(string(m.text), "concurrency") && !strings.Contains(string(m.text), "containerConcurrency") {
			t.Run("accept "+m.name, func(t *testing.T) {
				if got := evaluate(t, m.object, nil); got != "" {
					t.Errorf("rejected: %s", got)
				}
			})
		}
	}
}

func TestPoliciesFollowTheConfiguredMode(t *testing.T) {
	limited := predictorWith("containerConcurrency", int64(4))
	for configuration, wantRejected := range map[string]bool{
		"": true,
		"kind: OperatorConfiguration\ndeploymentMode: Standard\n":  true,
		"# deploymentMode: Knative\n":                              true,
		"kind: OperatorConfiguration\ndeploymentMode: Knative\n":   false,
		"deploymentMode:   \"Knative\" # all of it\n":              false,
		`{"deploymentMode": "Knative"}`:                            false,
		`{"apiVersion": "v1", "deploymentMode": "Knative"}`:        false,
		"ingress:\n  domain: example.com\ndeploymentMode: Knative": false,
	} {
		got := newPolicies(t, configuration)(t, limited.applyTo(newInferenceService("iris", nil)), nil)
		if (got != "") != wantRejected {
			t.Errorf("with %q: rejected = %q, want %t", configuration, got, wantRejected)
		}
	}
}

// newPolicies compiles the policies of config/admission. It returns a function that evaluates a
// request and returns the messages of violated rules.
func newPolicies(t *testing.T, configuration string) func(t *testing.T, object, old *unstructured.Unstructured) string {
	t.Helper()
	compiled := make([]func(context.Context, *testing.T, *admission.VersionedAttributes) []string, 0, 2)
	for _, file := range []string{"policy.yaml", "mode_policy.yaml"} {
		text, err := os.ReadFile(filepath.Join(policyFolder, file))
		if err != nil {
			t.Fatal(err)
		}
		policy := &admissionv1.ValidatingAdmissionPolicy{}
		if err := yaml.UnmarshalStrict(text, policy); err != nil {
			t.Fatal(err)
		}
		compiled = append(compiled, compilePolicy(t, policy, configuration))
	}
	return func(t *testing.T, object, old *unstructured.Unstructured) string {
		t.Helper()
		kind, resource := v1beta1.GroupVersion.WithKind("InferenceService"), v1beta1.GroupVersion.WithResource("inferenceservices")
		attributes := &admission.VersionedAttributes{VersionedKind: kind, VersionedObject: admission.NewLazyObject(object)}
		if old == nil {
			attributes.Attributes = admission.NewAttributesRecord(object, nil, kind, "ns", object.GetName(), resource, "", admission.Create, nil, false, nil)
		} else {
			attributes.Attributes = admission.NewAttributesRecord(object, old, kind, "ns", object.GetName(), resource, "", admission.Update, nil, false, nil)
			attributes.VersionedOldObject = admission.NewLazyObject(old)
		}
		var all []string
		for _, check := range compiled {
			all = append(all, check(t.Context(), t, attributes)...)
		}
		return strings.Join(all, "\n")
	}
}

func compilePolicy(
	t *testing.T, policy *admissionv1.ValidatingAdmissionPolicy, configuration string,
) func(context.Context, *testing.T, *admission.VersionedAttributes) []string {
	t.Helper()
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		t.Fatal(err)
	}
	declared := cel.OptionalVariableDeclarations{HasParams: policy.Spec.ParamKind != nil}
	for _, variable := range policy.Spec.Variables {
		result := compiler.CompileAndStoreVariable(&validating.Variable{Name: variable.Name, Expression: variable.Expression}, declared, environment.StoredExpressions)
		if result.Error != nil {
			t.Fatalf("%s: variable %s: %v", policy.Name, variable.Name, result.Error)
		}
	}
	var rules, messages []cel.ExpressionAccessor
	for _, validation := range policy.Spec.Validations {
		rules = append(rules, &validating.ValidationCondition{Expression: validation.Expression})
		message := validation.MessageExpression
		if message == "" {
			message = "'" + strings.ReplaceAll(validation.Message, "'", `\'`) + "'"
		}
		messages = append(messages, &messageExpression{message})
	}
	ruleEvaluator := compiler.CompileCondition(rules, declared, environment.StoredExpressions)
	messageEvaluator := compiler.CompileCondition(messages, declared, environment.StoredExpressions)
	params := &corev1.ConfigMap{Data: map[string]string{"config.yaml": configuration}}
	return func(ctx context.Context, t *testing.T, attributes *admission.VersionedAttributes) []string {
		t.Helper()
		request := cel.CreateAdmissionRequest(attributes.Attributes,
			metav1.GroupVersionResource(attributes.GetResource()), metav1.GroupVersionKind(attributes.VersionedKind))
		bindings := cel.OptionalVariableBindings{}
		if policy.Spec.ParamKind != nil {
			bindings.VersionedParams = params
		}
		results, budget, err := ruleEvaluator.ForInput(ctx, attributes, request, bindings, nil, celconfig.RuntimeCELCostBudget)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: cost %d", policy.Name, celconfig.RuntimeCELCostBudget-budget)
		messageResults, _, err := messageEvaluator.ForInput(ctx, attributes, request, bindings, nil, celconfig.RuntimeCELCostBudget)
		if err != nil {
			t.Fatal(err)
		}
		var rejections []string
		for i, result := range results {
			switch {
			case result.Error != nil:
				t.Fatalf("%s: %s: %v", policy.Name, policy.Spec.Validations[i].Expression, result.Error)
			case result.EvalResult.Value() == true:
			case messageResults[i].Error != nil:
				t.Fatalf("%s: %s: %v", policy.Name, policy.Spec.Validations[i].MessageExpression, messageResults[i].Error)
			default:
				rejections = append(rejections, messageResults[i].EvalResult.Value().(string))
			}
		}
		return rejections
	}
}

type messageExpression struct{ expression string }

func (m *messageExpression) GetExpression() string      { return m.expression }
func (m *messageExpression) ReturnTypes() []*celgo.Type { return []*celgo.Type{celgo.StringType} }
