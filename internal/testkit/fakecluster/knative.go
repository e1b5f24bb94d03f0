// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package fakecluster

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"knative.dev/networking/pkg/apis/networking"
	networkingv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/serving/pkg/apis/autoscaling"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Knative is a fake of Knative Serving. It creates revisions for Knative Services and Deployments
// for revisions, scales them, and writes the statuses with the code of Knative's own controllers.
// There are no Configurations, no Routes and no requests.
type Knative struct {
	client  client.Client
	clock   clock.PassiveClock
	changes changes

	mu           sync.Mutex
	lags         map[string]StatusLag
	stopped      map[string]bool
	behaviors    map[types.NamespacedName]RevisionBehavior
	ingresses    map[string]corev1.ServiceSpec
	observations map[types.UID]observation
	// initialized holds the revisions that have reached their initial scale. Knative keeps this in
	// PodAutoscalers.
	initialized map[types.UID]bool
}

// observation records when a generation was first observed, and the status before it.
type observation struct {
	generation int64
	since      time.Time
	previous   servingv1.ServiceStatus
}

func newKnative(c client.Client, passive clock.PassiveClock) *Knative {
	return &Knative{
		client:       c,
		clock:        passive,
		lags:         map[string]StatusLag{},
		stopped:      map[string]bool{},
		behaviors:    map[types.NamespacedName]RevisionBehavior{},
		ingresses:    map[string]corev1.ServiceSpec{},
		observations: map[types.UID]observation{},
		initialized:  map[types.UID]bool{},
	}
}

// SetStatusLag sets how the status of the Knative Services in a namespace lags.
func (k *Knative) SetStatusLag(namespace string, lag StatusLag) {
	k.mu.Lock()
	k.lags[namespace] = lag
	k.mu.Unlock()
}

// SetBehavior sets what Knative does with a revision, also if it does not exist yet.
func (k *Knative) SetBehavior(revision types.NamespacedName, behavior RevisionBehavior) {
	k.mu.Lock()
	k.behaviors[revision] = behavior
	k.mu.Unlock()
	k.changes.notify(&servingv1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: revision.Namespace}})
}

func (k *Knative) behavior(revision *servingv1.Revision) RevisionBehavior {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.behaviors[client.ObjectKeyFromObject(revision)]
}

// SetIngress gives Knative an ingress in a namespace: each Knative Service gets a Service of its
// name that points at the ingress. By default there are no such Services.
func (k *Knative) SetIngress(namespace string, ingress corev1.ServiceSpec) {
	k.mu.Lock()
	k.ingresses[namespace] = ingress
	k.mu.Unlock()
	k.changes.notify(&servingv1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}})
}

// Stop stops Knative in a namespace until Start is called.
func (k *Knative) Stop(namespace string) { k.setStopped(namespace, true) }

// Start reverts Stop.
func (k *Knative) Start(namespace string) { k.setStopped(namespace, false) }

func (k *Knative) setStopped(namespace string, stopped bool) {
	k.mu.Lock()
	k.stopped[namespace] = stopped
	k.mu.Unlock()
	k.changes.notify(&servingv1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}})
}

func (k *Knative) isStopped(namespace string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped[namespace]
}

func (k *Knative) controller() controller {
	return controller{
		name: "knative", client: k.client, kind: &servingv1.Service{}, sync: k.sync, changes: &k.changes,
		watches: []watch{
			{&servingv1.Revision{}, serviceRequests}, {&appsv1.Deployment{}, serviceRequests}, {&autoscalingv1alpha1.PodAutoscaler{}, serviceRequests},
		},
	}
}

func serviceRequests(_ context.Context, object client.Object) []reconcile.Request {
	name := object.GetLabels()[serving.ServiceLabelKey]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: name}}}
}

// sync reconciles one Knative Service. It returns when to requeue, or 0 to wait for a change.
func (k *Knative) sync(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	if k.isStopped(key.Namespace) {
		return 0, nil
	}
	service := &servingv1.Service{}
	if err := k.client.Get(ctx, key, service); client.IgnoreNotFound(err) != nil {
		return 0, err
	}
	revisions, err := k.revisions(ctx, key, service.UID)
	if err != nil {
		return 0, err
	}
	if err := k.pruneDeployments(ctx, key, revisions); err != nil {
		return 0, err
	}
	if service.UID == "" {
		return 0, k.deletePlaceholder(ctx, key)
	}
	if name := service.Spec.Template.Name; name != "" && revisions[name] == nil {
		return 0, k.client.Create(ctx, newRevision(service, k.clock.Now()))
	}
	for _, name := range slices.Sorted(maps.Keys(revisions)) {
		if err := k.syncRevision(ctx, service, revisions[name]); err != nil {
			return 0, err
		}
	}
	wait, err := k.updateServiceStatus(ctx, service, revisions)
	if err != nil {
		return 0, err
	}
	return wait, k.syncPlaceholder(ctx, service)
}

// syncPlaceholder updates the Service that points at Knative's ingress. Until the Knative Service
// has traffic, it points at the public host.
func (k *Knative) syncPlaceholder(ctx context.Context, service *servingv1.Service) error {
	k.mu.Lock()
	spec, ok := k.ingresses[service.Namespace]
	k.mu.Unlock()
	if !ok {
		return nil
	}
	if len(service.Status.Traffic) == 0 {
		spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: service.Name + "." + service.Namespace + ".example.com"}
	}
	placeholder := &corev1.Service{}
	err := k.client.Get(ctx, client.ObjectKeyFromObject(service), placeholder)
	switch {
	case apierrors.IsNotFound(err):
		return k.client.Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: service.Namespace, Name: service.Name, Labels: maps.Clone(service.Labels),
				OwnerReferences: []metav1.OwnerReference{{
					APIVersion: servingv1.SchemeGroupVersion.String(), Kind: "Route", Name: service.Name, UID: service.UID, Controller: new(true),
				}},
			},
			Spec: spec,
		})
	case err != nil:
		return err
	case !isPlaceholder(placeholder), equality.Semantic.DeepEqual(placeholder.Spec, spec):
		return nil
	}
	placeholder.Spec = spec
	return k.client.Update(ctx, placeholder)
}

func isPlaceholder(service *corev1.Service) bool {
	owner := metav1.GetControllerOf(service)
	return owner != nil && owner.Kind == "Route"
}

func (k *Knative) deletePlaceholder(ctx context.Context, key types.NamespacedName) error {
	placeholder := &corev1.Service{}
	if err := k.client.Get(ctx, key, placeholder); err != nil || !isPlaceholder(placeholder) {
		return client.IgnoreNotFound(err)
	}
	return k.client.Delete(ctx, placeholder)
}

// revisions returns the revisions of a Knative Service by name. It deletes those of a deleted
// Knative Service.
func (k *Knative) revisions(ctx context.Context, key types.NamespacedName, uid types.UID) (map[string]*servingv1.Revision, error) {
	var list servingv1.RevisionList
	err := k.client.List(ctx, &list, client.InNamespace(key.Namespace), client.MatchingLabels{serving.ServiceLabelKey: key.Name})
	if err != nil {
		return nil, err
	}
	current := map[string]*servingv1.Revision{}
	for i := range list.Items {
		revision := &list.Items[i]
		if uid != "" && revision.Labels[serving.ServiceUIDLabelKey] == string(uid) {
			current[revision.Name] = revision
			continue
		}
		if err := k.client.Delete(ctx, revision); client.IgnoreNotFound(err) != nil {
			return nil, err
		}
	}
	return current, nil
}

func (k *Knative) pruneDeployments(ctx context.Context, key types.NamespacedName, revisions map[string]*servingv1.Revision) error {
	var list appsv1.DeploymentList
	err := k.client.List(ctx, &list, client.InNamespace(key.Namespace), client.MatchingLabels{serving.ServiceLabelKey: key.Name})
	if err != nil {
		return err
	}
	for i := range list.Items {
		deployment := &list.Items[i]
		revision := revisions[deployment.Labels[serving.RevisionLabelKey]]
		if revision != nil && metav1.IsControlledBy(deployment, revision) {
			continue
		}
		if err := k.client.Delete(ctx, deployment); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

func newRevision(service *servingv1.Service, now time.Time) *servingv1.Revision {
	template := service.Spec.Template.DeepCopy()
	revision := &servingv1.Revision{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	revision.Namespace = service.Namespace
	for key, value := range map[string]string{
		serving.ServiceLabelKey: service.Name, serving.ServiceUIDLabelKey: string(service.UID),
		serving.ConfigurationLabelKey: service.Name, serving.ConfigurationGenerationLabelKey: strconv.FormatInt(service.Generation, 10),
	} {
		metav1.SetMetaDataLabel(&revision.ObjectMeta, key, value)
	}
	revision.SetRoutingState(servingv1.RoutingStatePending, now)
	return revision
}

func (k *Knative) syncRevision(ctx context.Context, service *servingv1.Service, revision *servingv1.Revision) error {
	if err := k.setRoutingState(ctx, service, revision); err != nil {
		return err
	}
	if cause := k.behavior(revision).unresolved; cause != "" {
		previous := revision.Status.DeepCopy()
		revision.Status.InitializeConditions()
		revision.Status.ObservedGeneration = revision.Generation
		revision.Status.MarkContainerHealthyFalse(servingv1.ReasonContainerMissing, cause)
		return k.updateStatus(ctx, revision, previous, &revision.Status)
	}
	deployment := &appsv1.Deployment{}
	err := k.client.Get(ctx, client.ObjectKey{Namespace: revision.Namespace, Name: revision.Name + "-deployment"}, deployment)
	if apierrors.IsNotFound(err) {
		return k.client.Create(ctx, newDeployment(revision))
	}
	if err != nil {
		return err
	}
	desired := k.desiredScale(revision)
	if *deployment.Spec.Replicas != desired {
		deployment.Spec.Replicas = &desired
		if err := k.client.Update(ctx, deployment); err != nil {
			return err
		}
	}
	if err := k.syncAutoscaler(ctx, revision, deployment); err != nil {
		return err
	}
	return k.updateRevisionStatus(ctx, revision, deployment)
}

func (k *Knative) syncAutoscaler(ctx context.Context, revision *servingv1.Revision, deployment *appsv1.Deployment) error {
	scaler, desired, behavior := &autoscalingv1alpha1.PodAutoscaler{}, newAutoscaler(revision), k.behavior(revision)
	err := k.client.Get(ctx, client.ObjectKeyFromObject(revision), scaler)
	switch {
	case apierrors.IsNotFound(err):
		return k.client.Create(ctx, desired)
	case err != nil:
		return err
	case !metav1.IsControlledBy(scaler, revision): // No garbage collector runs.
		return k.client.Delete(ctx, scaler)
	case scaler.Spec.Reachability != desired.Spec.Reachability && !behavior.keepAutoscalerSpec:
		scaler.Spec = desired.Spec
		return k.client.Update(ctx, scaler)
	case behavior.keepAutoscalerStatus:
		return nil
	}
	previous := scaler.Status.DeepCopy()
	scaler.Status = *k.autoscalerStatus(revision, deployment)
	scaler.Status.ObservedGeneration = scaler.Generation
	return k.updateStatus(ctx, scaler, previous, &scaler.Status)
}

func newAutoscaler(revision *servingv1.Revision) *autoscalingv1alpha1.PodAutoscaler {
	return &autoscalingv1alpha1.PodAutoscaler{
		ObjectMeta: metadataFor(revision, revision.Name),
		Spec: autoscalingv1alpha1.PodAutoscalerSpec{
			ScaleTargetRef: corev1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: revision.Name + "-deployment"},
			ProtocolType:   networking.ProtocolHTTP1,
			Reachability:   reachability(revision),
		},
	}
}

// reachability returns what Knative tells the autoscaler of a revision that has not failed.
func reachability(revision *servingv1.Revision) autoscalingv1alpha1.ReachabilityType {
	switch revision.GetRoutingState() {
	case servingv1.RoutingStateActive:
		return autoscalingv1alpha1.ReachabilityReachable
	case servingv1.RoutingStateReserve:
		return autoscalingv1alpha1.ReachabilityUnreachable
	default:
		return autoscalingv1alpha1.ReachabilityUnknown
	}
}

// metadataFor returns the metadata of an object that Knative creates for a revision.
func metadataFor(revision *servingv1.Revision, name string) metav1.ObjectMeta {
	labels := maps.Clone(revision.Labels)
	delete(labels, serving.RoutingStateLabelKey)
	labels[serving.RevisionLabelKey], labels[serving.RevisionUID] = revision.Name, string(revision.UID)
	return metav1.ObjectMeta{
		Namespace: revision.Namespace, Name: name, Labels: labels,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(revision, revision.GetGroupVersionKind())},
	}
}

func (k *Knative) setRoutingState(ctx context.Context, service *servingv1.Service, revision *servingv1.Revision) error {
	named := slices.ContainsFunc(slices.Concat(service.Spec.Traffic, service.Status.Traffic), func(target servingv1.TrafficTarget) bool {
		return target.RevisionName == revision.Name
	})
	state := revision.GetRoutingState()
	switch {
	case named:
		state = servingv1.RoutingStateActive
	case state == servingv1.RoutingStateActive:
		state = servingv1.RoutingStateReserve
	}
	if state == revision.GetRoutingState() {
		return nil
	}
	revision.SetRoutingState(state, k.clock.Now())
	return k.client.Update(ctx, revision)
}

// newDeployment returns a Deployment at the revision's initial scale, with the queue-proxy
// container.
func newDeployment(revision *servingv1.Revision) *appsv1.Deployment {
	meta := metadataFor(revision, revision.Name+"-deployment")
	pods := revision.Spec.PodSpec.DeepCopy()
	pods.Containers = append(pods.Containers, corev1.Container{Name: "queue-proxy", Image: "queue"})
	for i := range pods.Containers {
		if pods.Containers[i].Name == "" {
			pods.Containers[i].Name = "user-container"
		}
	}
	return &appsv1.Deployment{
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: new(initialScale(revision)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{serving.RevisionUID: string(revision.UID)}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: meta.Labels}, Spec: *pods},
		},
	}
}

func initialScale(revision *servingv1.Revision) int32 {
	return scaleAnnotation(revision.Annotations, autoscaling.InitialScaleAnnotation.Get, 1)
}

func minScale(revision *servingv1.Revision) int32 {
	return scaleAnnotation(revision.Annotations, autoscaling.MinScaleAnnotation.Get, 0)
}

func scaleAnnotation(all map[string]string, get func(map[string]string) (string, string, bool), fallback int32) int32 {
	_, value, _ := get(all)
	if scale, err := strconv.ParseInt(value, 10, 32); err == nil {
		return int32(scale)
	}
	return fallback
}

// desiredScale returns the scale that Knative's autoscaler chooses without requests.
func (k *Knative) desiredScale(revision *servingv1.Revision) int32 {
	_, class, _ := autoscaling.ClassAnnotation.Get(revision.Annotations)
	switch {
	case k.behavior(revision).givenUp:
		return 0
	case class == autoscaling.HPA:
		return max(1, minScale(revision)) // It cannot scale to zero.
	case !k.isInitialized(revision):
		return max(initialScale(revision), minScale(revision))
	case revision.GetRoutingState() == servingv1.RoutingStateReserve:
		return 0
	default:
		return minScale(revision)
	}
}

func (k *Knative) isInitialized(revision *servingv1.Revision) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.initialized[revision.UID] || revision.GetRoutingState() == servingv1.RoutingStateReserve
}

func (k *Knative) updateRevisionStatus(ctx context.Context, revision *servingv1.Revision, deployment *appsv1.Deployment) error {
	previous := revision.Status.DeepCopy()
	if deployment.Status.ReadyReplicas >= initialScale(revision) && deployment.Status.ReadyReplicas > 0 {
		k.mu.Lock()
		k.initialized[revision.UID] = true
		k.mu.Unlock()
	}
	status := &revision.Status
	status.InitializeConditions()
	status.ObservedGeneration = revision.Generation
	status.PropagateDeploymentStatus(&deployment.Status)
	if err := k.propagatePods(ctx, status, deployment); err != nil {
		return err
	}
	if deployment.Status.ReadyReplicas > 0 {
		status.MarkContainerHealthyTrue()
	}
	status.PropagateAutoscalerStatus(k.autoscalerStatus(revision, deployment))
	if k.behavior(revision).givenUp {
		status.MarkResourcesAvailableFalse(servingv1.ReasonProgressDeadlineExceeded, "Initial scale was never achieved")
	}
	return k.updateStatus(ctx, revision, previous, status)
}

func (k *Knative) updateStatus(ctx context.Context, object client.Object, previous, status any) error {
	if equality.Semantic.DeepEqual(previous, status) {
		return nil
	}
	return k.client.Status().Update(ctx, object)
}

// propagatePods reports on a revision why its pods are not ready.
func (k *Knative) propagatePods(ctx context.Context, status *servingv1.RevisionStatus, deployment *appsv1.Deployment) error {
	if *deployment.Spec.Replicas == 0 || deployment.Status.AvailableReplicas > 0 {
		return nil
	}
	pods, err := podsOf(ctx, k.client, client.ObjectKeyFromObject(deployment))
	if err != nil || len(pods) == 0 {
		return err
	}
	for _, condition := range pods[0].Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			status.MarkResourcesAvailableFalse(condition.Reason, condition.Message)
		}
	}
	for _, container := range pods[0].Status.ContainerStatuses {
		if terminated := container.LastTerminationState.Terminated; terminated != nil && container.Name != "queue-proxy" {
			status.MarkContainerHealthyFalse(servingv1.ExitCodeReason(terminated.ExitCode), servingv1.RevisionContainerExitingMessage(terminated.Message))
			break
		}
	}
	return nil
}

func (k *Knative) autoscalerStatus(revision *servingv1.Revision, deployment *appsv1.Deployment) *autoscalingv1alpha1.PodAutoscalerStatus {
	desired, ready := *deployment.Spec.Replicas, deployment.Status.ReadyReplicas
	status := &autoscalingv1alpha1.PodAutoscalerStatus{
		ServiceName: revision.Name, DesiredScale: &desired, ActualScale: new(ready),
	}
	status.InitializeConditions()
	if k.isInitialized(revision) {
		status.MarkScaleTargetInitialized()
	}
	if ready > 0 {
		status.MarkSKSReady()
	} else {
		status.MarkSKSNotReady("No ready endpoints")
	}
	switch {
	case desired == 0:
		status.MarkInactive("NoTraffic", "The target is not receiving traffic.")
	case ready >= max(1, minScale(revision)):
		status.MarkActive()
	default:
		status.MarkActivating("Queued", "Requests to the target are being buffered as resources are provisioned.")
	}
	return status
}

// updateServiceStatus writes the status of a Knative Service, with the status lag of its namespace.
func (k *Knative) updateServiceStatus(ctx context.Context, service *servingv1.Service, revisions map[string]*servingv1.Revision) (time.Duration, error) {
	before := *service.Status.DeepCopy()
	observed := k.observe(service)
	lag, age := k.lag(service.Namespace), k.clock.Since(observed.since)
	status, wait := k.currentStatus(service, revisions), lag.delay-age
	if lag.staleAgain {
		// The current status is reported first, and the stale one for the same time afterwards.
		wait += lag.delay
	}
	switch {
	case wait <= 0:
		wait = 0
	case lag.staleAgain && wait > lag.delay:
		wait -= lag.delay
	case observed.previous.ObservedGeneration > 0:
		status = lag.stale(observed.previous, status)
	}
	if equality.Semantic.DeepEqual(before, status) {
		return wait, nil
	}
	service.Status = status
	return wait, k.client.Status().Update(ctx, service)
}

func (k *Knative) lag(namespace string) StatusLag {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lags[namespace]
}

func (k *Knative) observe(service *servingv1.Service) observation {
	k.mu.Lock()
	defer k.mu.Unlock()
	observed := k.observations[service.UID]
	if observed.generation != service.Generation {
		observed = observation{generation: service.Generation, since: k.clock.Now(), previous: *service.Status.DeepCopy()}
		k.observations[service.UID] = observed
	}
	return observed
}

// currentStatus returns the status without lag. If a requested revision is not routable, the
// traffic stays unchanged.
func (k *Knative) currentStatus(service *servingv1.Service, revisions map[string]*servingv1.Revision) servingv1.ServiceStatus {
	status := *service.Status.DeepCopy()
	status.InitializeConditions()
	status.ObservedGeneration = service.Generation
	configuration := configurationStatus(service, revisions[service.Spec.Template.Name])
	status.PropagateConfigurationStatus(&configuration)
	route := servingv1.RouteStatus{RouteStatusFields: *status.RouteStatusFields.DeepCopy()}
	route.InitializeConditions()
	assignTraffic(&route, service, revisions)
	status.PropagateRouteStatus(&route)
	return status
}

func configurationStatus(service *servingv1.Service, latest *servingv1.Revision) servingv1.ConfigurationStatus {
	status := servingv1.ConfigurationStatus{ConfigurationStatusFields: *service.Status.ConfigurationStatusFields.DeepCopy()}
	status.InitializeConditions()
	if latest == nil {
		return status
	}
	status.SetLatestCreatedRevisionName(latest.Name)
	switch {
	case latest.IsFailed():
		status.MarkLatestCreatedFailed(latest.Name, latest.Status.GetCondition(servingv1.RevisionConditionReady).Message)
	case latest.IsReady():
		status.SetLatestReadyRevisionName(latest.Name)
	}
	return status
}

func assignTraffic(route *servingv1.RouteStatus, service *servingv1.Service, revisions map[string]*servingv1.Revision) {
	for _, target := range service.Spec.Traffic {
		switch revision := revisions[target.RevisionName]; {
		case revision == nil:
			route.MarkMissingTrafficTarget("Revision", target.RevisionName)
			return
		case revision.IsFailed():
			route.MarkRevisionFailed(revision.Name)
			return
		case !revision.IsReady():
			route.MarkRevisionNotReady(revision.Name)
			return
		}
	}
	route.MarkTrafficAssigned()
	route.MarkTLSNotEnabled(servingv1.ExternalDomainTLSNotEnabledMessage)
	route.URL = apis.HTTP(service.Name + "." + service.Namespace + ".example.com")
	if service.Labels[networking.VisibilityLabelKey] == serving.VisibilityClusterLocal {
		route.URL.Host = service.Name + "." + service.Namespace + ".svc.cluster.local"
	}
	route.Address = &duckv1.Addressable{URL: apis.HTTP(service.Name + "." + service.Namespace + ".svc.cluster.local")}
	route.Traffic = nil
	for _, target := range service.Spec.Traffic {
		if target.Tag != "" {
			target.URL = apis.HTTP(target.Tag + "-" + service.Name + "." + service.Namespace + ".example.com")
		}
		route.Traffic = append(route.Traffic, target)
	}
	ingress := networkingv1alpha1.IngressStatus{}
	ingress.InitializeConditions()
	ingress.MarkNetworkConfigured()
	ingress.MarkLoadBalancerReady(nil, nil)
	route.PropagateIngressStatus(ingress)
}
