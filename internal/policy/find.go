// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

// The kinds of policies.
const (
	KindCanaryPolicy        = "CanaryPolicy"
	KindClusterCanaryPolicy = "ClusterCanaryPolicy"
)

// Ref names a policy. The namespace of a CanaryPolicy is that of the InferenceService.
type Ref struct {
	Kind, Name string
}

// String returns the kind and the name, such as CanaryPolicy "standard".
func (r Ref) String() string { return fmt.Sprintf("%s %q", r.Kind, r.Name) }

// Reason says why no policy can move the share.
type Reason string

// The reasons.
const (
	// PolicyNotFound: the annotation names a policy that does not exist.
	PolicyNotFound Reason = "PolicyNotFound"
	// PolicyInvalid: the policy has an invalid field.
	PolicyInvalid Reason = "PolicyInvalid"
	// PolicyConflict: several policies of one level select the InferenceService.
	PolicyConflict Reason = "PolicyConflict"
)

// Problem says why no policy can move the share, and what to do.
type Problem struct {
	Reason  Reason
	Message string
}

// Policies are all policies that can apply to an InferenceService.
type Policies struct {
	// Namespaced are the policies of the namespace of the InferenceService.
	Namespaced []canaryv1alpha1.CanaryPolicy
	Cluster    []canaryv1alpha1.ClusterCanaryPolicy
	// NotInstalled reports that the cluster lacks the CRDs.
	NotInstalled bool
}

// Selection is the policy that applies to an InferenceService. It is the zero value if none does.
type Selection struct {
	// Ref is the policy that applies, or the zero value if there is a problem that no single policy
	// has.
	Ref  Ref
	Spec *canaryv1alpha1.CanaryPolicySpec
	// Problem is nil if a policy applies or none should.
	Problem *Problem
}

// Find returns the policy that applies to an InferenceService: the one that its annotation names, or
// else the only one whose selector matches. Policies of the namespace take precedence over those of
// the cluster.
func Find(isvc *v1beta1.InferenceService, policies Policies) Selection {
	candidates := [][]candidate{namespaced(isvc.Namespace, policies.Namespaced), clusterWide(policies.Cluster)}
	if name, ok := isvc.Annotations[v1beta1.AnnotationCanaryPolicy]; ok {
		if name == v1beta1.CanaryPolicyNone {
			return Selection{}
		}
		return named(isvc.Namespace, name, candidates, policies.NotInstalled)
	}
	for _, level := range candidates {
		if selection := selected(labels.Set(isvc.Labels), level); selection != (Selection{}) {
			return selection
		}
	}
	return Selection{}
}

type candidate struct {
	ref  Ref
	spec *canaryv1alpha1.CanaryPolicySpec
}

func namespaced(namespace string, policies []canaryv1alpha1.CanaryPolicy) []candidate {
	var all []candidate
	for i := range policies {
		if policies[i].Namespace == namespace {
			all = append(all, candidate{Ref{KindCanaryPolicy, policies[i].Name}, &policies[i].Spec})
		}
	}
	return sortedByName(all)
}

func clusterWide(policies []canaryv1alpha1.ClusterCanaryPolicy) []candidate {
	var all []candidate
	for i := range policies {
		all = append(all, candidate{Ref{KindClusterCanaryPolicy, policies[i].Name}, &policies[i].Spec})
	}
	return sortedByName(all)
}

// sortedByName makes messages independent of the order in which a cache lists objects.
func sortedByName(all []candidate) []candidate {
	slices.SortFunc(all, func(a, b candidate) int { return strings.Compare(a.ref.Name, b.ref.Name) })
	return all
}

func named(namespace, name string, candidates [][]candidate, notInstalled bool) Selection {
	for _, level := range candidates {
		for _, c := range level {
			if c.ref.Name == name {
				return Selection{Ref: c.ref, Spec: c.spec}
			}
		}
	}
	message := fmt.Sprintf("the annotation %s is %q, but there is no CanaryPolicy of this name in namespace %s and no ClusterCanaryPolicy: "+
		"create one, or write the name of an existing policy or %s", v1beta1.AnnotationCanaryPolicy, name, namespace, v1beta1.CanaryPolicyNone)
	switch {
	case notInstalled:
		message = fmt.Sprintf("the annotation %s is %q, but the cluster has no CRDs of %s: install them, or write %s",
			v1beta1.AnnotationCanaryPolicy, name, canaryv1alpha1.GroupVersion.Group, v1beta1.CanaryPolicyNone)
	case name == "":
		message = fmt.Sprintf("the annotation %s is empty: write the name of a policy or %s, or remove it",
			v1beta1.AnnotationCanaryPolicy, v1beta1.CanaryPolicyNone)
	}
	return Selection{Problem: &Problem{PolicyNotFound, message}}
}

// selected returns the only policy of one level that selects the labels. A policy with a malformed
// selector is reported only if no other policy of the level matches, so that it cannot stop
// InferenceServices that it was not meant for more often than necessary.
func selected(set labels.Set, level []candidate) Selection {
	var matching []candidate
	var invalid *Selection
	for _, c := range level {
		matches, err := selects(c.spec.Selector, set)
		if err != nil && invalid == nil {
			invalid = &Selection{Ref: c.ref, Problem: invalidSelector(c.ref, err)}
		}
		if matches {
			matching = append(matching, c)
		}
	}
	switch {
	case len(matching) == 1:
		return Selection{Ref: matching[0].ref, Spec: matching[0].spec}
	case len(matching) > 1:
		return Selection{Problem: conflict(matching)}
	case invalid != nil:
		return *invalid
	default:
		return Selection{}
	}
}

func selects(selector *metav1.LabelSelector, set labels.Set) (bool, error) {
	if selector == nil || len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return false, nil
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(set), err
}

func invalidSelector(ref Ref, err error) *Problem {
	return &Problem{PolicyInvalid, fmt.Sprintf("%s: spec.selector is not a label selector: %v", ref, err)}
}

func conflict(matching []candidate) *Problem {
	names := make([]string, len(matching))
	for i, c := range matching {
		names[i] = fmt.Sprintf("%q", c.ref.Name)
	}
	return &Problem{PolicyConflict, fmt.Sprintf("the selectors of several objects of kind %s match: %s; write one of these names into the annotation %s, or change the selectors",
		matching[0].ref.Kind, strings.Join(names, ", "), v1beta1.AnnotationCanaryPolicy)}
}
