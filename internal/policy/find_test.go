// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestFind(t *testing.T) {
	team := &metav1.LabelSelector{MatchLabels: map[string]string{"team": "search"}}
	tier := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpExists}}}
	malformed := &metav1.LabelSelector{MatchLabels: map[string]string{"team of": "search"}}
	everything := &metav1.LabelSelector{}
	const malformedSelector = `CanaryPolicy "broken": spec.selector is not a label selector: ` +
		`key: Invalid value: "team of": name part must consist of alphanumeric characters, '-', '_' or '.', ` +
		`and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`

	tests := map[string]struct {
		annotation string
		policies   Policies
		want       Ref
		problem    *Problem
	}{
		"no policies": {},
		"no policy matches": {
			policies: policies(namespacedPolicy("a", nil), clusterPolicy("b", everything), namespacedPolicy("c", &metav1.LabelSelector{MatchLabels: map[string]string{"team": "ads"}})),
		},
		"the annotation names a policy of the namespace": {
			annotation: "a", policies: policies(namespacedPolicy("a", nil), clusterPolicy("a", nil), namespacedPolicy("b", team)),
			want: Ref{KindCanaryPolicy, "a"},
		},
		"the annotation names a cluster policy": {
			annotation: "a", policies: policies(clusterPolicy("a", nil), namespacedPolicy("b", team)),
			want: Ref{KindClusterCanaryPolicy, "a"},
		},
		"the annotation says none": {
			annotation: "none", policies: policies(namespacedPolicy("b", team)),
		},
		"the annotation names no policy": {
			annotation: "c", policies: policies(namespacedPolicy("b", team), inNamespace("other", namespacedPolicy("c", nil))),
			problem: &Problem{PolicyNotFound, `the annotation serinus.io/canary-policy is "c", but there is no CanaryPolicy of this name in namespace shop and no ClusterCanaryPolicy: create one, or write the name of an existing policy or none`},
		},
		"the annotation is empty": {
			annotation: "empty",
			problem:    &Problem{PolicyNotFound, `the annotation serinus.io/canary-policy is empty: write the name of a policy or none, or remove it`},
		},
		"the annotation names a policy and the CRDs are missing": {
			annotation: "a", policies: Policies{NotInstalled: true},
			problem: &Problem{PolicyNotFound, `the annotation serinus.io/canary-policy is "a", but the cluster has no CRDs of canary.serinus.io: install them, or write none`},
		},
		"the CRDs are missing": {policies: Policies{NotInstalled: true}},
		"a selector of the namespace": {
			policies: policies(namespacedPolicy("a", team), clusterPolicy("b", team), clusterPolicy("c", tier)),
			want:     Ref{KindCanaryPolicy, "a"},
		},
		"a selector of the cluster": {
			policies: policies(namespacedPolicy("a", everything), clusterPolicy("b", tier)),
			want:     Ref{KindClusterCanaryPolicy, "b"},
		},
		"a selector of another namespace": {
			policies: policies(inNamespace("other", namespacedPolicy("a", team))),
		},
		"two selectors of the namespace": {
			policies: policies(namespacedPolicy("b", tier), namespacedPolicy("a", team), clusterPolicy("c", team)),
			problem:  &Problem{PolicyConflict, `the selectors of several objects of kind CanaryPolicy match: "a", "b"; write one of these names into the annotation serinus.io/canary-policy, or change the selectors`},
		},
		"two selectors of the cluster": {
			policies: policies(clusterPolicy("b", tier), clusterPolicy("a", team)),
			problem:  &Problem{PolicyConflict, `the selectors of several objects of kind ClusterCanaryPolicy match: "a", "b"; write one of these names into the annotation serinus.io/canary-policy, or change the selectors`},
		},
		"two selectors and an annotation": {
			annotation: "b", policies: policies(namespacedPolicy("b", tier), namespacedPolicy("a", team)),
			want: Ref{KindCanaryPolicy, "b"},
		},
		"a malformed selector": {
			policies: policies(namespacedPolicy("broken", malformed), clusterPolicy("a", team)),
			want:     Ref{KindCanaryPolicy, "broken"},
			problem:  &Problem{PolicyInvalid, malformedSelector},
		},
		"a malformed selector beside one that matches": {
			policies: policies(namespacedPolicy("broken", malformed), namespacedPolicy("a", team)),
			want:     Ref{KindCanaryPolicy, "a"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			isvc := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: "iris", Labels: map[string]string{"team": "search", "tier": "gold"},
			}}
			switch tt.annotation {
			case "":
			case "empty":
				isvc.Annotations = map[string]string{v1beta1.AnnotationCanaryPolicy: ""}
			default:
				isvc.Annotations = map[string]string{v1beta1.AnnotationCanaryPolicy: tt.annotation}
			}
			slices.Reverse(tt.policies.Namespaced) // The order does not matter.
			got := Find(isvc, tt.policies)
			if diff := cmp.Diff(tt.want, got.Ref); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.problem, got.Problem); diff != "" {
				t.Errorf("problem (-want +got):\n%s", diff)
			}
			if applies := got.Ref != (Ref{}) && got.Problem == nil; (got.Spec != nil) != applies {
				t.Errorf("the spec is %v", got.Spec)
			}
		})
	}
}

func namespacedPolicy(name string, selector *metav1.LabelSelector) canaryv1alpha1.CanaryPolicy {
	return canaryv1alpha1.CanaryPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: canaryv1alpha1.CanaryPolicySpec{Selector: selector},
	}
}

func inNamespace(namespace string, policy canaryv1alpha1.CanaryPolicy) canaryv1alpha1.CanaryPolicy {
	policy.Namespace = namespace
	return policy
}

func clusterPolicy(name string, selector *metav1.LabelSelector) canaryv1alpha1.ClusterCanaryPolicy {
	return canaryv1alpha1.ClusterCanaryPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: canaryv1alpha1.CanaryPolicySpec{Selector: selector},
	}
}

func policies(all ...any) Policies {
	var p Policies
	for _, policy := range all {
		switch policy := policy.(type) {
		case canaryv1alpha1.CanaryPolicy:
			p.Namespaced = append(p.Namespaced, policy)
		case canaryv1alpha1.ClusterCanaryPolicy:
			p.Cluster = append(p.Cluster, policy)
		}
	}
	return p
}
