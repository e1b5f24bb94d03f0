// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/engine"
	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/backend/pods"
	"github.com/serinus-io/serinus/internal/rollout"
)

// children are the objects of one InferenceService. A revision's objects are keyed by its number.
type children struct {
	history.History
	deployments  map[rollout.Number]*appsv1.Deployment
	services     map[rollout.Number]*corev1.Service
	autoscalers  map[rollout.Number]*autoscalingv2.HorizontalPodAutoscaler
	pods         map[rollout.Number][]*corev1.Pod
	endpoints    map[rollout.Number]int // Ready endpoints.
	localService *corev1.Service
	// predictorService has KServe's name for the predictor and selects one revision.
	predictorService *corev1.Service
	// scaleTarget is what an external autoscaler scales.
	scaleTarget *scalingv1alpha1.ScaleTarget
	route       *gatewayv1.HTTPRoute
	tagRoutes   map[string]*gatewayv1.HTTPRoute
	gateways    gateway.Gateways
}

func (c *children) routes() []*gatewayv1.HTTPRoute {
	all := []*gatewayv1.HTTPRoute{c.route, c.tagRoutes[v1beta1.TagLatest], c.tagRoutes[v1beta1.TagPrevious]}
	return slices.DeleteFunc(all, func(route *gatewayv1.HTTPRoute) bool { return route == nil })
}

func (b *Backend) observe(ctx context.Context, isvc *v1beta1.InferenceService) (*children, error) {
	observed := &children{
		deployments: map[rollout.Number]*appsv1.Deployment{},
		services:    map[rollout.Number]*corev1.Service{},
		autoscalers: map[rollout.Number]*autoscalingv2.HorizontalPodAutoscaler{},
		endpoints:   map[rollout.Number]int{},
		tagRoutes:   map[string]*gatewayv1.HTTPRoute{},
	}
	for _, read := range []func(context.Context, *v1beta1.InferenceService, *children) error{
		b.readHistory, b.readWorkloads, b.readScaleTarget, b.readPods, b.readEndpoints, b.readRoutes, b.awaitDeployments,
	} {
		if err := read(ctx, isvc, observed); err != nil {
			return nil, err
		}
	}
	return observed, nil
}

func (b *Backend) readHistory(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	var err error
	observed.History, err = history.Read(ctx, &b.Store, isvc)
	return err
}

func (b *Backend) readWorkloads(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	var deployments appsv1.DeploymentList
	var services corev1.ServiceList
	var autoscalers autoscalingv2.HorizontalPodAutoscalerList
	for _, list := range []client.ObjectList{&deployments, &services, &autoscalers} {
		if err := b.List(ctx, isvc, list); err != nil {
			return err
		}
	}
	for _, service := range objects.Pointers(services.Items) {
		switch {
		case objects.CheckOwner(isvc, service, "Service") != nil:
		case service.Name == isvc.Name:
			observed.localService = service
		case service.Name == backend.PredictorName(isvc.Name):
			observed.predictorService = service
		}
	}
	err := objects.Collect(isvc, deploymentKind, deploymentNumber, objects.Pointers(deployments.Items), observed.deployments)
	if err == nil {
		err = objects.Collect(isvc, "Service", backend.RevisionNumber, objects.Pointers(services.Items), observed.services)
	}
	if err == nil {
		err = objects.Collect(isvc, "HorizontalPodAutoscaler", backend.RevisionNumber, objects.Pointers(autoscalers.Items), observed.autoscalers)
	}
	return err
}

func (b *Backend) readPods(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	var err error
	observed.pods, err = pods.Read(ctx, &b.Store, isvc, v1beta1.LabelRevision)
	return err
}

// ready returns how many replicas of a revision can serve. Endpoints decide who receives requests,
// but they may still list a terminating pod.
func (c *children) ready(n rollout.Number) int {
	return min(c.endpoints[n], pods.CountReady(c.pods[n]))
}

// hasLeftoverPods reports whether there are pods of a revision that does not exist yet. Pods of a
// deleted InferenceService with the same name outlive its other objects.
func (c *children) hasLeftoverPods(n rollout.Number) bool {
	return c.deployments[n] == nil && (c.endpoints[n] > 0 || slices.ContainsFunc(c.pods[n], func(pod *corev1.Pod) bool {
		return pod.DeletionTimestamp == nil
	}))
}

// readEndpoints counts the ready endpoints of each revision's Service, as a gateway does: a ready
// pod without an endpoint is unreachable. In a dual-stack cluster, a pod has an endpoint in each
// address family and counts once.
func (b *Backend) readEndpoints(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	var list discoveryv1.EndpointSliceList
	if err := b.List(ctx, isvc, &list); err != nil {
		return err
	}
	type family struct {
		revision rollout.Number
		address  discoveryv1.AddressType
	}
	ready := map[family]int{}
	for _, slice := range list.Items {
		n := backend.RevisionNumber(isvc.Name, slice.Labels[discoveryv1.LabelServiceName])
		for _, endpoint := range slice.Endpoints {
			if n != 0 && (endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready) {
				ready[family{n, slice.AddressType}]++
			}
		}
	}
	for of, count := range ready {
		observed.endpoints[of.revision] = max(observed.endpoints[of.revision], count)
	}
	return nil
}

func (b *Backend) readRoutes(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	if !b.RoutesInstalled() {
		return nil
	}
	names := routeNames(isvc)
	routes, gateways, err := gateway.ReadRoutes(ctx, &b.Store, b.Gateways, isvc, b.Config.Ingress, names...)
	if err != nil {
		return err
	}
	observed.gateways = gateways
	for name, route := range routes {
		if tag := tagOfRoute(isvc, name); tag != "" {
			observed.tagRoutes[tag] = route
			continue
		}
		observed.route = route
		if err := backend.CheckStateVersion(route.Annotations[objects.AnnotationState]); err != nil {
			return err
		}
	}
	for _, name := range names {
		route := routes[name]
		if route == nil {
			route = &gatewayv1.HTTPRoute{}
			route.Namespace, route.Name = isvc.Namespace, name
		}
		if err := b.AwaitWritten(ctx, route); err != nil {
			return err
		}
	}
	return nil
}

// Kinds whose last write must be in the cache. With an older route, a spec that was changed back in
// the meantime would look as if it had been acted on: nothing would be written, and the status
// would report a split that the route no longer has. With an older Deployment, a revision that was
// scaled down would look as if it could take all traffic.
const (
	deploymentKind = "Deployment"
	routeKind      = gateway.RouteKind
)

// awaitDeployments returns [backend.ErrStaleCache] if the cache is behind our last write of a
// Deployment. A Deployment that the cache lacks is looked up when it is written.
func (b *Backend) awaitDeployments(ctx context.Context, _ *v1beta1.InferenceService, observed *children) error {
	for _, n := range slices.Sorted(maps.Keys(observed.deployments)) {
		if err := b.AwaitWritten(ctx, observed.deployments[n]); err != nil {
			return err
		}
	}
	return nil
}

func routeNames(isvc *v1beta1.InferenceService) []string {
	return []string{gateway.RouteName(isvc.Name), tagRouteName(v1beta1.TagLatest, isvc.Name), tagRouteName(v1beta1.TagPrevious, isvc.Name)}
}

func (c *children) routeNamed(isvc *v1beta1.InferenceService, name string) *gatewayv1.HTTPRoute {
	if tag := tagOfRoute(isvc, name); tag != "" {
		return c.tagRoutes[tag]
	}
	return c.route
}

func tagOfRoute(isvc *v1beta1.InferenceService, name string) string {
	for _, tag := range []string{v1beta1.TagLatest, v1beta1.TagPrevious} {
		if tagRouteName(tag, isvc.Name) == name {
			return tag
		}
	}
	return ""
}

func (c *children) workload(n rollout.Number) *rollout.Workload {
	deployment := c.deployments[n]
	if deployment == nil {
		if c.services[n] == nil && c.autoscalers[n] == nil {
			return nil
		}
		return &rollout.Workload{Ready: c.ready(n), Pods: len(c.pods[n])} // Its remaining pods.
	}
	workload := &rollout.Workload{
		Ready:              c.ready(n),
		Replicas:           replicasOf(deployment),
		Pods:               len(c.pods[n]),
		Failed:             revisionDetail(deployment, c.pods[n]).Failure != nil,
		Unobserved:         deployment.Status.ObservedGeneration < deployment.Generation,
		IdleSince:          parseTime(deployment.Annotations[annotationIdleSince]),
		ScaledUpAt:         parseTime(deployment.Annotations[annotationScaledUpAt]),
		ReadySince:         pods.ReadySince(c.pods[n]),
		UnschedulableSince: pods.UnschedulableSince(c.pods[n]),
		Held:               parseNumber(deployment.Annotations[annotationHeldReplicas]),
		Lowered:            parseNumber(deployment.Annotations[annotationLowered]),
	}
	if !workload.ScaledUpAt.IsZero() {
		workload.Leftover = pods.CountReadyBefore(c.pods[n], workload.ScaledUpAt)
	}
	return workload
}

func parseTime(text string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

func parseNumber(text string) int {
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 {
		return 0
	}
	return number
}

// routeOf reads the rollout state, and whether the gateway serves the current generations of the
// main route and the tag routes.
func (b *Backend) routeOf(isvc *v1beta1.InferenceService, observed *children, revisions []rollout.Revision) rollout.Route {
	result := rollout.Route{NoRouteAPI: !b.RoutesInstalled()}
	for _, route := range observed.tagRoutes {
		for _, share := range splitOf(isvc, route).Shares() {
			result.Tags = append(result.Tags, share.Revision)
		}
	}
	slices.Sort(result.Tags)
	if observed.route == nil {
		return result
	}
	result.Split = splitOf(isvc, observed.route)
	state, err := rollout.DecodeState(observed.route.Annotations[objects.AnnotationState])
	if err != nil || !result.Split.Equal(state.Split) && !engine.HasRevisionsOf(revisions, state) {
		return result
	}
	result.State = &state
	result.Accepted = result.Split.Equal(state.Split) && observed.gateways.AcceptanceOf(observed.route).Accepted
	result.TagsAccepted, result.TagsRefused = observed.tagAcceptance()
	return result
}

// tagAcceptance reports whether the gateway has accepted every tag route, and whether it has
// answered for the current generation of each and has refused at least one.
func (c *children) tagAcceptance() (accepted, refused bool) {
	accepted, answered := true, true
	for _, route := range c.tagRoutes {
		acceptance := c.gateways.AcceptanceOf(route)
		accepted, answered = accepted && acceptance.Accepted, answered && acceptance.Answered()
		refused = refused || acceptance.Refused
	}
	return accepted, answered && refused
}
