// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package watchrecorder

import (
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit"
)

// Trace returns a readable list of the changes, one per line.
func (r *Recorder) Trace() string {
	var trace strings.Builder
	for _, entry := range r.Entries() {
		trace.WriteString(formatEntry(r.started, entry))
		trace.WriteByte('\n')
	}
	return trace.String()
}

func formatEntry(started time.Time, entry Entry) string {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", entry.Object), "*")
	kind = kind[strings.LastIndex(kind, ".")+1:]
	what := describe(entry.Object)
	if entry.Deleted {
		what = "deleted"
	}
	return fmt.Sprintf("%7.3fs %6d  %-18s %-52s %s", entry.At.Sub(started).Seconds(), entry.Version, kind, entry.Object.GetName(), what)
}

func describe(object any) string {
	switch object := object.(type) {
	case *v1beta1.InferenceService:
		return describeInferenceService(object)
	case *gatewayv1.HTTPRoute:
		return describeRoute(object)
	case *servingv1.Service:
		return describeKnativeService(object)
	case *servingv1.Revision:
		return fmt.Sprintf("%s %s", object.GetRoutingState(), describeCondition(object.Status.GetCondition(servingv1.RevisionConditionReady)))
	case *appsv1.Deployment:
		replicas := int32(1)
		if object.Spec.Replicas != nil {
			replicas = *object.Spec.Replicas
		}
		idle := ""
		if object.Annotations["rollout.serinus.io/idle-since"] != "" {
			idle = ", idle"
		}
		return fmt.Sprintf("replicas %d, ready %d%s", replicas, object.Status.ReadyReplicas, idle)
	case *discoveryv1.EndpointSlice:
		return fmt.Sprintf("ready %d of %d", readyEndpoints(object, false), len(object.Endpoints))
	case *corev1.Pod:
		return string(object.Status.Phase)
	}
	return ""
}

func describeInferenceService(isvc *v1beta1.InferenceService) string {
	status := isvc.Status
	var parts []string
	for _, target := range status.Components[v1beta1.PredictorComponent].Traffic {
		parts = append(parts, fmt.Sprintf("%s:%d", target.RevisionName, *target.Percent))
	}
	for _, condition := range status.Conditions {
		if condition.Type == v1beta1.ConditionReady {
			parts = append(parts, fmt.Sprintf("Ready=%s (%s: %s)", condition.Status, condition.Reason, condition.Message))
		}
	}
	percent := "-"
	if p := isvc.Spec.Predictor.CanaryTrafficPercent; p != nil {
		percent = fmt.Sprint(*p)
	}
	return fmt.Sprintf("gen %d/%d p=%s %s %s", status.ObservedGeneration, isvc.Generation, percent, status.Phase, strings.Join(parts, " "))
}

func describeRoute(route *gatewayv1.HTTPRoute) string {
	var weights []string
	for _, rule := range route.Spec.Rules {
		for _, ref := range rule.BackendRefs {
			if ref.Weight != nil {
				weights = append(weights, fmt.Sprintf("%s:%d", ref.Name, *ref.Weight))
			}
		}
	}
	return describeSplit(route, weights)
}

func describeKnativeService(service *servingv1.Service) string {
	var shares []string
	for _, target := range service.Spec.Traffic {
		shares = append(shares, fmt.Sprintf("%s:%d", target.RevisionName, *target.Percent))
	}
	return "template " + service.Spec.Template.Name + ", " + describeSplit(service, shares)
}

func describeSplit(route client.Object, shares []string) string {
	accepted := "not accepted"
	if testkit.IsAccepted(route) {
		accepted = "accepted"
	}
	return fmt.Sprintf("gen %d, %s: %s %s", route.GetGeneration(), accepted, strings.Join(shares, " "), route.GetAnnotations()[annotationRolloutState])
}

func describeCondition(condition *apis.Condition) string {
	if condition == nil {
		return "Ready is missing"
	}
	return fmt.Sprintf("Ready=%s (%s: %s)", condition.Status, condition.Reason, condition.Message)
}
