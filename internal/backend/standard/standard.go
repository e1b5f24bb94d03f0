// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/engine"
	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

// reasonGatewayAPIMissing is the condition reason for a cluster without the Gateway API.
const reasonGatewayAPIMissing = "GatewayAPINotInstalled"

// Backend runs predictors in Standard mode.
type Backend struct {
	objects.Store

	Config *config.Config
	// Gateways reads Gateways and GatewayClasses; the default is Client.
	Gateways client.Reader
	// RoutesInstalled reports whether the cluster has the Gateway API and the cache watches
	// HTTPRoutes.
	RoutesInstalled func() bool
	// ScaleTargetsInstalled reports whether the cluster has ScaleTargets and the cache watches
	// them; nil means no.
	ScaleTargetsInstalled func() bool
}

// Children lists the kinds that the backend creates, except HTTPRoutes and ScaleTargets, which a
// cluster may lack.
func Children() []client.Object {
	return []client.Object{
		&appsv1.ControllerRevision{}, &appsv1.Deployment{}, &corev1.Service{}, &autoscalingv2.HorizontalPodAutoscaler{},
	}
}

// Route returns the kind of the routes.
func Route() client.Object { return &gatewayv1.HTTPRoute{} }

// Peers lists the kinds that other controllers create from our objects and that show whether a
// revision can serve.
func Peers() []client.Object {
	return []client.Object{&corev1.Pod{}, &discoveryv1.EndpointSlice{}}
}

// Check accepts every pod.
func (*Backend) Check(*v1beta1.InferenceService, predictor.RuntimeRef, *corev1.PodSpec) error {
	return nil
}

// Observe reads all objects of the InferenceService. It writes nothing. An error is transient, or a
// [backend.ConflictError].
func (b *Backend) Observe(ctx context.Context, isvc *v1beta1.InferenceService) (backend.Session, error) {
	observed, err := b.observe(ctx, isvc)
	if err != nil {
		return nil, err
	}
	return &engine.Session{
		Store: &b.Store, InferenceService: isvc, Facts: b.newObservation(isvc, observed), History: observed.History,
		StateObject: objects.OrNil(observed.route),
		NewDriver: func(w *engine.Writer) engine.Driver {
			driver := &writer{
				Writer: w, Backend: b, isvc: isvc, observed: observed, unwritten: map[rollout.Number]error{}, replicas: map[rollout.Number]int{},
			}
			w.Objects.Written = driver.noteWritten
			return driver
		},
	}, nil
}

func (b *Backend) newObservation(isvc *v1beta1.InferenceService, observed *children) *backend.Observation {
	observation := engine.NewObservation(observed.History, engine.Workloads[*appsv1.Deployment]{
		Objects: observed.deployments, Observe: observed.workload,
		Status: func(n rollout.Number) backend.RevisionStatus {
			return revisionDetail(observed.deployments[n], observed.pods[n])
		},
	})
	observation.Route = b.routeOf(isvc, observed, observation.Revisions)
	observation.RouteStatus = b.routeStatus(observed)
	observation.TagHosts = len(observed.tagRoutes) > 0
	observation.ScaleTargetReplicas = observed.requestedReplicas()
	observation.Addresses = addresses(isvc, b.Config.Ingress)
	observation.Mode = observed.mode()
	observation.Route.BehindSince = observation.RouteStatus.BehindSince
	if observed.predictorService != nil && observation.Addresses.Local == "" {
		observation.Addresses.Local = "http://" + b.Config.Ingress.ClusterHost(backend.PredictorName(isvc.Name), isvc.Namespace)
	}
	for _, route := range observed.routes() {
		observation.Hosts = append(observation.Hosts, gateway.HostsOf(route)...)
	}
	return observation
}

// mode returns Standard if there is a Deployment or a route with a rollout state. Otherwise it
// returns the mode in the revision history.
func (c *children) mode() v1beta1.DeploymentMode {
	if len(c.deployments) > 0 || c.route != nil && c.route.Annotations[objects.AnnotationState] != "" {
		return v1beta1.DeploymentModeStandard
	}
	return c.Mode()
}

func addresses(isvc *v1beta1.InferenceService, ingress config.Ingress) backend.Addresses {
	predictorName := backend.PredictorName(isvc.Name)
	result := backend.Addresses{
		URL:       ingress.URL(ingress.Host(isvc.Name, isvc.Namespace)),
		Predictor: ingress.URL(ingress.Host(predictorName, isvc.Namespace)),
		Tag: func(tag string) string {
			return ingress.URL(ingress.TagHost(tag, predictorName, isvc.Namespace))
		},
	}
	if ingress.LocalGateway != nil {
		result.Local = "http://" + gateway.LocalHost(isvc, ingress)
		if gateway.ClusterLocal(isvc) {
			result.URL, result.Predictor = result.Local, result.Local
		}
	}
	return result
}

// routeStatus returns the status of the routes that users see.
func (b *Backend) routeStatus(observed *children) backend.RouteStatus {
	if !b.RoutesInstalled() {
		return backend.RouteStatus{
			Refused: true,
			Reason:  reasonGatewayAPIMissing,
			Message: "the cluster does not have the Gateway API (HTTPRoute of gateway.networking.k8s.io/v1); install its CRDs and a gateway that implements it, see https://gateway-api.sigs.k8s.io/guides/",
		}
	}
	if observed.route == nil {
		return backend.RouteStatus{}
	}
	return observed.gateways.Detail(b.Config.Ingress, observed.routes()...)
}
