// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

// NewScheme returns a scheme of the kinds that the operator reads or writes.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1beta1.AddToScheme, v1alpha1.AddToScheme, scalingv1alpha1.AddToScheme, canaryv1alpha1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme,
		autoscalingv2.AddToScheme, discoveryv1.AddToScheme, gatewayv1.Install, servingv1.AddToScheme,
		autoscalingv1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("building the scheme: %w", err)
		}
	}
	return scheme, nil
}
