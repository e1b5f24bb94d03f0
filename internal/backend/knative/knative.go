// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/engine"
	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Backend runs predictors in Knative mode.
type Backend struct {
	objects.Store

	Config *config.Config
	// Clock returns the current time; the default is the system clock.
	Clock clock.PassiveClock
	// Installed reports whether the cluster has Knative Serving and the cache watches its objects.
	Installed func() bool
	// Gateways reads Gateways and GatewayClasses; the default is Client.
	Gateways client.Reader
	// RoutesInstalled reports whether the cluster has the Gateway API and the cache watches
	// HTTPRoutes.
	RoutesInstalled func() bool
}

// Children lists the kinds that the backend creates and every cluster has.
func Children() []client.Object {
	return []client.Object{&appsv1.ControllerRevision{}, &corev1.Service{}}
}

// Kinds lists the Knative kinds that the backend reads.
func Kinds() []client.Object {
	return []client.Object{&servingv1.Service{}, &servingv1.Revision{}, &autoscalingv1alpha1.PodAutoscaler{}}
}

// RevisionLabel is the label on Knative's pods that names their revision.
const RevisionLabel = serving.RevisionLabelKey

// Observe reads all objects of the InferenceService. It writes nothing. An error is transient, or a
// [backend.ConflictError].
func (b *Backend) Observe(ctx context.Context, isvc *v1beta1.InferenceService) (backend.Session, error) {
	observed, err := b.observe(ctx, isvc)
	if err != nil {
		return nil, err
	}
	hostRoute, err := b.hostRouteStatus(isvc, observed)
	if err != nil {
		return nil, err
	}
	observation := engine.NewObservation(observed.History, engine.Workloads[*servingv1.Revision]{
		Objects: observed.knativeRevisions, Status: observed.detail,
		Observe: func(n rollout.Number) *rollout.Workload { return observed.workload(isvc, n) },
	})
	observation.Route = b.routeOf(isvc, observed, observation.Revisions)
	observation.RouteStatus = b.routeStatus(observed)
	observation.HostRoute = hostRoute
	observation.Addresses = b.addresses(isvc, observed, hostRoute)
	observation.Mode = observed.mode()
	observation.Current = observed.current(isvc)
	observation.WakeAt = observed.wakeAt()
	observation.TagHosts = len(observation.Route.Tags) > 0
	if route := observed.hostRoute.route; route != nil {
		observation.Hosts = gateway.HostsOf(route)
	}
	return &engine.Session{
		Store: &b.Store, InferenceService: isvc, Facts: observation, History: observed.History,
		StateObject: objects.OrNil(observed.service),
		NewDriver: func(w *engine.Writer) engine.Driver {
			return &writer{Writer: w, Backend: b, isvc: isvc, observed: observed}
		},
	}, nil
}

// mode returns Knative if there is a Knative Service or the saved rollout state of a deleted one.
// Otherwise it returns the mode in the revision history.
func (c *children) mode() v1beta1.DeploymentMode {
	if c.service != nil || c.SavedState != nil {
		return v1beta1.DeploymentModeKnative
	}
	return c.Mode()
}

// current returns the newest revision of a Knative Service that KServe managed until now. KServe
// has made sure that it runs what the spec asks for. So the spec must not change between the end of
// KServe's management and the adoption.
func (c *children) current(isvc *v1beta1.InferenceService) rollout.Number {
	if c.service == nil || c.service.Annotations[objects.AnnotationState] != "" {
		return 0
	}
	n := backend.RevisionNumber(isvc.Name, c.service.Status.LatestCreatedRevisionName)
	if revision := c.knativeRevisions[n]; revision == nil || revision.Annotations[objects.AnnotationHash] != "" || c.ControllerRevisions[n] != nil {
		return 0
	}
	return n
}

// addresses returns Knative's addresses, and the InferenceService's own URL once the gateway serves
// it.
func (b *Backend) addresses(isvc *v1beta1.InferenceService, observed *children, hostRoute *backend.HostRoute) backend.Addresses {
	all := observed.addresses()
	if hostRoute == nil || !hostRoute.Open {
		return all
	}
	all.URL = hostRoute.URL
	if b.Config.Ingress.LocalGateway != nil {
		all.Local = "http://" + gateway.LocalHost(isvc, b.Config.Ingress)
	}
	return all
}

// addresses returns the addresses that Knative reports.
func (c *children) addresses() backend.Addresses {
	result := backend.Addresses{Tag: func(string) string { return "" }}
	if c.service == nil {
		return result
	}
	status := c.service.Status
	if status.URL != nil {
		result.URL, result.Predictor = status.URL.String(), status.URL.String()
	}
	if status.Address != nil && status.Address.URL != nil {
		result.Local = status.Address.URL.String()
	}
	result.Tag = func(tag string) string {
		index := slices.IndexFunc(status.Traffic, func(t servingv1.TrafficTarget) bool { return t.Tag == tag && t.URL != nil })
		if index < 0 {
			return ""
		}
		return status.Traffic[index].URL.String()
	}
	return result
}
