// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
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

// TestNoFixedUserOnOpenShift: the restricted-v2 policy rejects a pod whose user or fsGroup is
// outside the range of its namespace.
func TestNoFixedUserOnOpenShift(t *testing.T) {
	installed := map[string]objects{
		"kustomize": kustomizeBuild(t, "prometheus", "network-policy"),
		"chart":     mustRender(t, nil),
		"runtimes":  kustomizeBuildOf(t, "runtimes-openshift"),
	}
	for name, built := range installed {
		for _, key := range built.keys() {
			if built[key]["kind"] == "CustomResourceDefinition" {
				continue
			}
			for _, field := range []string{"runAsUser", "runAsGroup", "fsGroup"} {
				if hasKey(built[key], field) {
					t.Errorf("%s: %s sets %s", name, key, field)
				}
			}
		}
	}
	if len(installed["runtimes"]) != len(kustomizeBuildOf(t, "runtimes")) {
		t.Error("the OpenShift overlay has a different number of runtimes")
	}
}

// hasKey reports whether a manifest has the key at any depth.
func hasKey(value any, key string) bool {
	switch value := value.(type) {
	case map[string]any:
		for k, child := range value {
			if k == key || hasKey(child, key) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, func(child any) bool { return hasKey(child, key) })
	}
	return false
}

// TestServiceMonitorUsesADedicatedToken: the Prometheus operator may forbid monitors to read files
// of Prometheus (arbitraryFSAccessThroughSMs), and the name of Prometheus' own ServiceAccount
// depends on its installation.
func TestServiceMonitorUsesADedicatedToken(t *testing.T) {
	built := kustomizeBuild(t, "prometheus")
	monitor := built["ServiceMonitor serinus-system/serinus-controller-manager"]
	if hasKey(monitor, "bearerTokenFile") {
		t.Error("the ServiceMonitor reads a token file of Prometheus")
	}
	credentials := at(monitor, "spec", "endpoints", 0, "authorization", "credentials")
	secret := convert[corev1.Secret](t, built[fmt.Sprintf("Secret %s/%v", namespace, at(credentials, "name"))])
	if secret.Type != corev1.SecretTypeServiceAccountToken || at(credentials, "key") != corev1.ServiceAccountTokenKey {
		t.Errorf("%v refers to a Secret of type %q", credentials, secret.Type)
	}
	account := secret.Annotations[corev1.ServiceAccountNameKey]
	if built["ServiceAccount "+namespace+"/"+account] == nil {
		t.Errorf("the ServiceAccount %q of the token is not installed", account)
	}
	var roles []string
	for _, binding := range bindings(t, built) {
		if slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Name == account }) {
			roles = append(roles, binding.RoleRef.Name)
		}
	}
	if !slices.Equal(roles, []string{"serinus-metrics-reader"}) {
		t.Errorf("the token has the roles %v", roles)
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

// bindings returns every RoleBinding and ClusterRoleBinding, by its key.
func bindings(t *testing.T, built objects) map[string]rbacv1.ClusterRoleBinding {
	t.Helper()
	found := map[string]rbacv1.ClusterRoleBinding{}
	for key, object := range built {
		if object["kind"] == "ClusterRoleBinding" || object["kind"] == "RoleBinding" {
			found[key] = convert[rbacv1.ClusterRoleBinding](t, object)
		}
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

func TestRolesCannotEscalate(t *testing.T) {
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

func TestSecretsAreNotReadClusterWide(t *testing.T) {
	built := kustomizeBuild(t)
	roles := rules(t, built)
	for key, binding := range bindings(t, built) {
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
	for key, binding := range bindings(t, built) {
		for _, subject := range binding.Subjects {
			if subject.Name != account || subject.Namespace != namespace {
				t.Errorf("%s binds %s/%s, want %s/%s", key, subject.Namespace, subject.Name, namespace, account)
			}
		}
	}
}
