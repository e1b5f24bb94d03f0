// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func convert[T any](t *testing.T, object map[string]any) T {
	t.Helper()
	var typed T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object, &typed, true); err != nil {
		t.Fatal(err)
	}
	return typed
}

func TestPodsAreRestricted(t *testing.T) {
	deployment := convert[appsv1.Deployment](t, kustomizeBuild(t)["Deployment serinus-system/serinus-controller-manager"])
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pod := deployment.Spec.Template
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			t.Errorf("%s: %s", result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
}

// rules returns the rules of every Role and ClusterRole, by its key.
func rules(t *testing.T, built objects) map[string][]rbacv1.PolicyRule {
	t.Helper()
	found := map[string][]rbacv1.PolicyRule{}
	for key, object := range built {
		switch object["kind"] {
		case "ClusterRole":
			found[key] = convert[rbacv1.ClusterRole](t, object).Rules
		case "Role":
			found[key] = convert[rbacv1.Role](t, object).Rules
		}
	}
	if len(found) == 0 {
		t.Fatal("there are no roles")
	}
	return found
}

func TestRolesHaveNoWildcards(t *testing.T) {
	for role, rules := range rules(t, kustomizeBuild(t)) {
		for _, rule := range rules {
			for _, values := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs, rule.NonResourceURLs} {
				if slices.Contains(values, "*") {
					t.Errorf("%s has a wildcard: %v", role, rule)
				}
			}
		}
	}
}

func TestRolesCannotGiveThemselvesMore(t *testing.T) {
	for role, rules := range rules(t, kustomizeBuild(t)) {
		for _, rule := range rules {
			for _, verb := range []string{"bind", "escalate", "impersonate"} {
				if slices.Contains(rule.Verbs, verb) {
					t.Errorf("%s may %s: %v", role, verb, rule)
				}
			}
		}
	}
}

// TestSecretsAreNotReadClusterWide looks at every binding that is installed.
func TestSecretsAreNotReadClusterWide(t *testing.T) {
	built := kustomizeBuild(t)
	roles := rules(t, built)
	for key, object := range built {
		if object["kind"] != "ClusterRoleBinding" && object["kind"] != "RoleBinding" {
			continue
		}
		binding := convert[rbacv1.ClusterRoleBinding](t, object)
		role := fmt.Sprintf("%s %v/%s", binding.RoleRef.Kind, "<nil>", binding.RoleRef.Name)
		if binding.RoleRef.Kind == "Role" {
			role = fmt.Sprintf("Role %s/%s", binding.Namespace, binding.RoleRef.Name)
		}
		bound, ok := roles[role]
		if !ok {
			t.Errorf("%s binds %s, which is not installed", key, role)
		}
		for _, rule := range bound {
			if slices.Contains(rule.Resources, "secrets") {
				t.Errorf("%s gives access to Secrets: %v", key, rule)
			}
		}
	}
	if _, ok := roles["ClusterRole <nil>/serinus-credentials-reader"]; !ok {
		t.Error("the ClusterRole serinus-credentials-reader, for namespaces to bind, is missing")
	}
}

func TestBindingsNameTheServiceAccount(t *testing.T) {
	built := kustomizeBuild(t)
	deployment := convert[appsv1.Deployment](t, built["Deployment serinus-system/serinus-controller-manager"])
	account := deployment.Spec.Template.Spec.ServiceAccountName
	if _, ok := built["ServiceAccount "+namespace+"/"+account]; !ok {
		t.Errorf("the ServiceAccount %s of the Deployment is not installed", account)
	}
	for key, object := range built {
		if object["kind"] != "ClusterRoleBinding" && object["kind"] != "RoleBinding" {
			continue
		}
		for _, subject := range convert[rbacv1.ClusterRoleBinding](t, object).Subjects {
			if subject.Name != account || subject.Namespace != namespace {
				t.Errorf("%s binds %s/%s, want %s/%s", key, subject.Namespace, subject.Name, namespace, account)
			}
		}
	}
}
