// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

const (
	servicePort     = 80
	servicePortName = "http"
	// defaultUtilization is the target of the autoscaler if scaleTarget is absent, in percent of
	// the request, as in KServe.
	defaultUtilization = 80
)

// unknownClass stands for an unknown autoscaler class. Until the class is corrected, the replicas
// stay unchanged.
const unknownClass v1beta1.AutoscalerClass = "unknown"

type scaling struct {
	bounds rollout.Bounds
	class  v1beta1.AutoscalerClass
}

func scalingFor(isvc *v1beta1.InferenceService, bounds rollout.Bounds) scaling {
	return scaling{bounds: bounds, class: autoscalerClass(isvc)}
}

func autoscalerClass(isvc *v1beta1.InferenceService) v1beta1.AutoscalerClass {
	switch class := v1beta1.AutoscalerClass(isvc.Annotations[v1beta1.AnnotationAutoscalerClass]); class {
	case v1beta1.AutoscalerClassExternal, v1beta1.AutoscalerClassNone, v1beta1.AutoscalerClassHPA:
		return class
	case "":
		return v1beta1.AutoscalerClassHPA
	default:
		return unknownClass
	}
}

func (s scaling) autoscaled() bool {
	return s.class == v1beta1.AutoscalerClassHPA && s.bounds.Max > s.bounds.Min
}

// replicas returns the desired replicas of a running revision, given its Deployment's current ones.
// An autoscaler's choice is kept unless it is below what the traffic needs.
func (s scaling) replicas(current int, plan rollout.WorkloadPlan) int {
	switch {
	case plan.Replicas != nil:
		return *plan.Replicas
	case s.bounds.ScaledExternally && !plan.Raise, s.class == unknownClass && current > 0:
		return current
	case s.autoscaled():
		return max(current, plan.MinReplicas)
	default:
		return plan.MinReplicas
	}
}

func replicasOf(deployment *appsv1.Deployment) int {
	if deployment.Spec.Replicas == nil {
		return 1
	}
	return int(*deployment.Spec.Replicas)
}

// deployment returns the Deployment of a revision. Once the revision has been ready, its pod
// template never changes.
func deployment(isvc *v1beta1.InferenceService, n rollout.Number, revision backend.RenderedRevision, replicas int, deadline time.Duration) *appsv1.Deployment {
	meta := objects.Meta(isvc, deploymentName(isvc.Name, n), n)
	meta.Annotations = map[string]string{objects.AnnotationHash: revision.Hash, annotationRevision: summarise(revision)}
	if revision.Amendment.Download != nil {
		// The annotation is needed if the amendment only removes a variable, which apply would not
		// notice.
		meta.Annotations[objects.AnnotationDownload] = revision.DownloadHash()
	}
	return &appsv1.Deployment{
		ObjectMeta: objects.WithUserLabels(meta, revision.Runs.Template.Labels),
		Spec: appsv1.DeploymentSpec{
			Replicas:                new(int32(replicas)),
			Selector:                &metav1.LabelSelector{MatchLabels: selector(isvc, n)},
			Template:                podTemplate(revision, meta.Labels),
			Strategy:                strategy(isvc),
			ProgressDeadlineSeconds: new(int32(deadline.Seconds())),
		},
	}
}

// strategy returns the user's strategy with Kubernetes' defaults filled in. If the defaults were
// left out, a value that the user removes would stay. An invalid strategy is ignored: an
// InferenceService that is older than the CRD's validation rules can have one, and must still be
// able to scale up a revision, above all to undo a promotion.
func strategy(isvc *v1beta1.InferenceService) appsv1.DeploymentStrategy {
	var chosen appsv1.DeploymentStrategy
	if requested := isvc.Spec.Predictor.DeploymentStrategy; requested != nil && predictor.StrategyProblem(requested) == nil {
		chosen = *requested.DeepCopy()
	}
	if chosen.Type == appsv1.RecreateDeploymentStrategyType {
		return chosen
	}
	quarter := intstr.FromString("25%")
	rolling := objects.ValueOr(chosen.RollingUpdate, appsv1.RollingUpdateDeployment{})
	return appsv1.DeploymentStrategy{
		Type: appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxSurge:       new(objects.ValueOr(rolling.MaxSurge, quarter)),
			MaxUnavailable: new(objects.ValueOr(rolling.MaxUnavailable, quarter)),
		},
	}
}

func selector(isvc *v1beta1.InferenceService, n rollout.Number) map[string]string {
	return map[string]string{
		v1beta1.LabelInferenceService: isvc.Name,
		v1beta1.LabelRevision:         backend.RevisionName(isvc.Name, n),
	}
}

func service(isvc *v1beta1.InferenceService, n rollout.Number, revision backend.RenderedRevision) *corev1.Service {
	meta := objects.Meta(isvc, backend.RevisionName(isvc.Name, n), n)
	meta.Annotations = map[string]string{objects.AnnotationHash: revision.Hash}
	port := corev1.ServicePort{
		Name:       servicePortName,
		Protocol:   corev1.ProtocolTCP,
		Port:       servicePort,
		TargetPort: intstr.FromInt32(revision.Runs.Port),
	}
	if protocol := revision.Runs.AppProtocol; protocol != "" {
		port.AppProtocol = &protocol
	}
	return &corev1.Service{
		ObjectMeta: objects.WithUserLabels(meta, revision.Runs.Template.Labels),
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: selector(isvc, n),
			Ports:    append([]corev1.ServicePort{port}, revision.Runs.AdditionalPorts...),
		},
	}
}

// autoscaler returns an autoscaler between the floor, which the traffic needs, and the spec's
// maximum.
func autoscaler(isvc *v1beta1.InferenceService, n rollout.Number, bounds rollout.Bounds, floor int) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: objects.Meta(isvc, backend.RevisionName(isvc.Name, n), n),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{
				APIVersion: appsv1.SchemeGroupVersion.String(),
				Kind:       "Deployment",
				Name:       deploymentName(isvc.Name, n),
			},
			MinReplicas: new(int32(floor)),
			MaxReplicas: int32(bounds.Max),
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ResourceMetricSourceType,
				Resource: &autoscalingv2.ResourceMetricSource{
					Name: scaleMetric(isvc),
					Target: autoscalingv2.MetricTarget{
						Type:               autoscalingv2.UtilizationMetricType,
						AverageUtilization: new(scaleTarget(isvc)),
					},
				},
			}},
		},
	}
}

// scaleMetric prefers the field to KServe's older annotation. Validation has already refused
// unsupported metrics.
func scaleMetric(isvc *v1beta1.InferenceService) corev1.ResourceName {
	metric := v1beta1.ScaleMetric(isvc.Annotations[v1beta1.AnnotationMetrics])
	if field := isvc.Spec.Predictor.ScaleMetric; field != nil {
		metric = *field
	}
	if metric == v1beta1.MetricMemory {
		return corev1.ResourceMemory
	}
	return corev1.ResourceCPU
}

func scaleTarget(isvc *v1beta1.InferenceService) int32 {
	if target := isvc.Spec.Predictor.ScaleTarget; target != nil {
		return *target
	}
	target, err := strconv.ParseInt(isvc.Annotations[v1beta1.AnnotationTargetUtilizationPercentage], 10, 32)
	if err != nil {
		return defaultUtilization
	}
	return int32(target)
}
