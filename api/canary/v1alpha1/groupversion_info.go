// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "canary.serinus.io", Version: "v1alpha1"}

// SchemeGroupVersion is GroupVersion, under the name that generated code uses.
var SchemeGroupVersion = GroupVersion

var (
	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the types of this package to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &CanaryPolicy{}, &CanaryPolicyList{}, &ClusterCanaryPolicy{}, &ClusterCanaryPolicyList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
