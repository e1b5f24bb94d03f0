// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"fmt"
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
	"knative.dev/networking/pkg/apis/networking"
	networkingv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/serving/pkg/apis/autoscaling"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Knative makes revisions out of Knative Services and Deployments out of revisions, scales them, and says what is served,
// as Knative Serving does: its statuses are made by the code that Knative's own controllers make them with. There are no
// Configurations and no Routes in between, and nobody has any requests.
type Knative struct {
	client client.Client
	nudges chan event.GenericEvent

	mu      sync.Mutex
	manners map[string]Manner
	down    map[string]bool
	reports map[types.UID]saying
	// initialized are the revisions that have had their initial scale, which Knative keeps in PodAutoscalers.
	initialized map[types.UID]bool
}

// saying is what was said of a generation, and of the one before.
type saying struct {
	generation int64
	since      time.Time
	before     servingv1.ServiceStatus
}

func newKnative(mgr manager.Manager) *Knative {
	return &Knative{
		client:      mgr.GetClient(),
		nudges:      make(chan event.GenericEvent, 1024),
		manners:     map[string]Manner{},
		down:        map[string]bool{},
		reports:     map[types.UID]saying{},
		initialized: map[types.UID]bool{},
	}
}

// Report sets how Knative reports on the Knative Services of a namespace.
func (k *Knative) Report(namespace string, manner Manner) {
	k.mu.Lock()
	k.manners[namespace] = manner
	k.mu.Unlock()
}

// Stop has Knative do nothing any more in a namespace, until it is started again.
func (k *Knative) Stop(namespace string) { k.set(namespace, true) }

// Start undoes Stop.
func (k *Knative) Start(namespace string) { k.set(namespace, false) }

func (k *Knative) set(namespace string, down bool) {
	k.mu.Lock()
	k.down[namespace] = down
	k.mu.Unlock()
	k.nudges <- event.GenericEvent{Object: &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}}
}

func (k *Knative) isDown(namespace string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.down[namespace]
}

func (k *Knative) setup(_ context.Context, mgr manager.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("peer-knative").
		For(&servingv1.Service{}).
		Watches(&servingv1.Revision{}, handler.EnqueueRequestsFromMapFunc(service)).
		Watches(&appsv1.Deployment{}, handler.EnqueueRequestsFromMapFunc(service)).
		Watches(&autoscalingv1alpha1.PodAutoscaler{}, handler.EnqueueRequestsFromMapFunc(service)).
		WatchesRawSource(source.Channel(k.nudges, handler.EnqueueRequestsFromMapFunc(k.services))).
		Complete(reconcile.Func(k.reconcile))
	if err != nil {
		return fmt.Errorf("setting up Knative: %w", err)
	}
	return nil
}

// service is the Knative Service that an object of Knative's is of.
func service(_ context.Context, object client.Object) []reconcile.Request {
	name := object.GetLabels()[serving.ServiceLabelKey]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: name}}}
}

func (k *Knative) services(ctx context.Context, object client.Object) []reconcile.Request {
	return requestsFor(ctx, k.client, &servingv1.ServiceList{}, client.InNamespace(object.GetNamespace()))
}

func (k *Knative) reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	if k.isDown(request.Namespace) {
		return reconcile.Result{}, nil
	}
	wait, err := k.play(ctx, request.NamespacedName)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return reconcile.Result{RequeueAfter: retryPeriod}, nil
	}
	return reconcile.Result{RequeueAfter: wait}, err
}

// play does what there is to do for one Knative Service, and tells when to look again; 0 when something else has to
// happen first.
func (k *Knative) play(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	asked := &servingv1.Service{}
	if err := k.client.Get(ctx, key, asked); client.IgnoreNotFound(err) != nil {
		return 0, err
	}
	revisions, err := k.revisions(ctx, key, asked.UID)
	if err != nil {
		return 0, err
	}
	if err := k.sweep(ctx, key, revisions); err != nil || asked.UID == "" {
		return 0, err
	}
	if name := asked.Spec.Template.Name; name != "" && revisions[name] == nil {
		return 0, k.client.Create(ctx, revisionOf(asked))
	}
	for _, name := range slices.Sorted(maps.Keys(revisions)) {
		if err := k.run(ctx, asked, revisions[name]); err != nil {
			return 0, err
		}
	}
	return k.report(ctx, asked, revisions)
}

// revisions are those of one Knative Service, by name. Those of one that is gone are deleted.
func (k *Knative) revisions(ctx context.Context, key types.NamespacedName, uid types.UID) (map[string]*servingv1.Revision, error) {
	var list servingv1.RevisionList
	err := k.client.List(ctx, &list, client.InNamespace(key.Namespace), client.MatchingLabels{serving.ServiceLabelKey: key.Name})
	if err != nil {
		return nil, err
	}
	there := map[string]*servingv1.Revision{}
	for i := range list.Items {
		revision := &list.Items[i]
		if uid != "" && revision.Labels[serving.ServiceUIDLabelKey] == string(uid) {
			there[revision.Name] = revision
			continue
		}
		if err := k.client.Delete(ctx, revision); client.IgnoreNotFound(err) != nil {
			return nil, err
		}
	}
	return there, nil
}

// sweep deletes the Deployments of revisions that are gone.
func (k *Knative) sweep(ctx context.Context, key types.NamespacedName, revisions map[string]*servingv1.Revision) error {
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

// revisionOf casts the revision that the template asks for.
func revisionOf(asked *servingv1.Service) *servingv1.Revision {
	template := asked.Spec.Template.DeepCopy()
	made := &servingv1.Revision{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	made.Namespace = asked.Namespace
	for key, value := range map[string]string{
		serving.ServiceLabelKey: asked.Name, serving.ServiceUIDLabelKey: string(asked.UID),
		serving.ConfigurationLabelKey: asked.Name, serving.ConfigurationGenerationLabelKey: strconv.FormatInt(asked.Generation, 10),
	} {
		metav1.SetMetaDataLabel(&made.ObjectMeta, key, value)
	}
	made.SetRoutingState(servingv1.RoutingStatePending, time.Now())
	return made
}

// run says on a revision whether it is routed to, scales it, and says how it is.
func (k *Knative) run(ctx context.Context, asked *servingv1.Service, revision *servingv1.Revision) error {
	if err := k.mark(ctx, asked, revision); err != nil {
		return err
	}
	deployment := &appsv1.Deployment{}
	err := k.client.Get(ctx, client.ObjectKey{Namespace: revision.Namespace, Name: revision.Name + "-deployment"}, deployment)
	if apierrors.IsNotFound(err) {
		return k.client.Create(ctx, deploymentOf(revision))
	}
	if err != nil {
		return err
	}
	wanted := k.scale(revision)
	if *deployment.Spec.Replicas != wanted {
		deployment.Spec.Replicas = &wanted
		if err := k.client.Update(ctx, deployment); err != nil {
			return err
		}
	}
	if err := k.autoscale(ctx, revision, deployment); err != nil {
		return err
	}
	return k.judge(ctx, revision, deployment)
}

// autoscale says on the autoscaler of a revision how it scales it.
func (k *Knative) autoscale(ctx context.Context, revision *servingv1.Revision, deployment *appsv1.Deployment) error {
	scaler, wanted := &autoscalingv1alpha1.PodAutoscaler{}, scalerOf(revision)
	err := k.client.Get(ctx, client.ObjectKeyFromObject(revision), scaler)
	switch {
	case apierrors.IsNotFound(err):
		return k.client.Create(ctx, wanted)
	case err != nil:
		return err
	case !metav1.IsControlledBy(scaler, revision): // There is nobody to collect garbage.
		return k.client.Delete(ctx, scaler)
	case scaler.Spec.Reachability != wanted.Spec.Reachability:
		scaler.Spec = wanted.Spec
		return k.client.Update(ctx, scaler)
	}
	before := scaler.Status.DeepCopy()
	scaler.Status = *k.autoscaler(revision, deployment)
	scaler.Status.ObservedGeneration = scaler.Generation
	if equality.Semantic.DeepEqual(*before, scaler.Status) {
		return nil
	}
	return k.client.Status().Update(ctx, scaler)
}

// scalerOf is the autoscaler of a revision.
func scalerOf(revision *servingv1.Revision) *autoscalingv1alpha1.PodAutoscaler {
	return &autoscalingv1alpha1.PodAutoscaler{
		ObjectMeta: partOf(revision, revision.Name),
		Spec: autoscalingv1alpha1.PodAutoscalerSpec{
			ScaleTargetRef: corev1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: revision.Name + "-deployment"},
			ProtocolType:   networking.ProtocolHTTP1,
			Reachability:   Reachability(revision),
		},
	}
}

// Reachability is what Knative tells the autoscaler of a revision that has not failed.
func Reachability(revision *servingv1.Revision) autoscalingv1alpha1.ReachabilityType {
	switch revision.GetRoutingState() {
	case servingv1.RoutingStateActive:
		return autoscalingv1alpha1.ReachabilityReachable
	case servingv1.RoutingStateReserve:
		return autoscalingv1alpha1.ReachabilityUnreachable
	default:
		return autoscalingv1alpha1.ReachabilityUnknown
	}
}

// partOf is what Knative says on an object that it makes of a revision.
func partOf(revision *servingv1.Revision, name string) metav1.ObjectMeta {
	labels := maps.Clone(revision.Labels)
	delete(labels, serving.RoutingStateLabelKey)
	labels[serving.RevisionLabelKey], labels[serving.RevisionUID] = revision.Name, string(revision.UID)
	return metav1.ObjectMeta{
		Namespace: revision.Namespace, Name: name, Labels: labels,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(revision, revision.GetGroupVersionKind())},
	}
}

// mark labels a revision by whether a route names it.
func (k *Knative) mark(ctx context.Context, asked *servingv1.Service, revision *servingv1.Revision) error {
	named := slices.ContainsFunc(slices.Concat(asked.Spec.Traffic, asked.Status.Traffic), func(target servingv1.TrafficTarget) bool {
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
	revision.SetRoutingState(state, time.Now())
	return k.client.Update(ctx, revision)
}

// deploymentOf runs the initial scale of a revision, with the proxy that Knative puts beside the model.
func deploymentOf(revision *servingv1.Revision) *appsv1.Deployment {
	meta := partOf(revision, revision.Name+"-deployment")
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

func leastScale(revision *servingv1.Revision) int32 {
	return scaleAnnotation(revision.Annotations, autoscaling.MinScaleAnnotation.Get, 0)
}

func scaleAnnotation(all map[string]string, get func(map[string]string) (string, string, bool), otherwise int32) int32 {
	_, value, _ := get(all)
	if scale, err := strconv.ParseInt(value, 10, 32); err == nil {
		return int32(scale)
	}
	return otherwise
}

// scale is how many pods Knative's autoscaler wants of a revision. There are never any requests.
func (k *Knative) scale(revision *servingv1.Revision) int32 {
	switch {
	case !k.isInitialized(revision):
		return max(initialScale(revision), leastScale(revision))
	case revision.GetRoutingState() == servingv1.RoutingStateReserve:
		return 0
	default:
		return leastScale(revision)
	}
}

func (k *Knative) isInitialized(revision *servingv1.Revision) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.initialized[revision.UID] || revision.GetRoutingState() == servingv1.RoutingStateReserve
}

// judge says how a revision is.
func (k *Knative) judge(ctx context.Context, revision *servingv1.Revision, deployment *appsv1.Deployment) error {
	before := revision.Status.DeepCopy()
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
	status.PropagateAutoscalerStatus(k.autoscaler(revision, deployment))
	if equality.Semantic.DeepEqual(*before, revision.Status) {
		return nil
	}
	return k.client.Status().Update(ctx, revision)
}

// propagatePods says on a revision why its pods do not serve.
func (k *Knative) propagatePods(ctx context.Context, status *servingv1.RevisionStatus, deployment *appsv1.Deployment) error {
	if *deployment.Spec.Replicas == 0 || deployment.Status.AvailableReplicas > 0 {
		return nil
	}
	var pods corev1.PodList
	if err := k.client.List(ctx, &pods, client.InNamespace(deployment.Namespace), client.MatchingFields{indexByDeployment: deployment.Name}); err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return nil
	}
	for _, condition := range pods.Items[0].Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			status.MarkResourcesAvailableFalse(condition.Reason, condition.Message)
		}
	}
	for _, container := range pods.Items[0].Status.ContainerStatuses {
		if ended := container.LastTerminationState.Terminated; ended != nil && container.Name != "queue-proxy" {
			status.MarkContainerHealthyFalse(servingv1.ExitCodeReason(ended.ExitCode), servingv1.RevisionContainerExitingMessage(ended.Message))
			break
		}
	}
	return nil
}

// autoscaler is what Knative's autoscaler says of a revision.
func (k *Knative) autoscaler(revision *servingv1.Revision, deployment *appsv1.Deployment) *autoscalingv1alpha1.PodAutoscalerStatus {
	wanted, ready := *deployment.Spec.Replicas, deployment.Status.ReadyReplicas
	status := &autoscalingv1alpha1.PodAutoscalerStatus{
		ServiceName: revision.Name, DesiredScale: &wanted, ActualScale: new(ready),
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
	case wanted == 0:
		status.MarkInactive("NoTraffic", "The target is not receiving traffic.")
	case ready >= max(1, leastScale(revision)):
		status.MarkActive()
	default:
		status.MarkActivating("Queued", "Requests to the target are being buffered as resources are provisioned.")
	}
	return status
}

// report says on a Knative Service what is served, in the manner that is set.
func (k *Knative) report(ctx context.Context, asked *servingv1.Service, revisions map[string]*servingv1.Revision) (time.Duration, error) {
	said := *asked.Status.DeepCopy()
	report := k.hear(asked)
	manner, age := k.manner(asked.Namespace), time.Since(report.since)
	status, wait := k.right(asked, revisions), manner.delay-age
	if manner.relapses {
		// First what is right, for as long as then what is not.
		wait += manner.delay
	}
	switch {
	case wait <= 0:
		wait = 0
	case manner.relapses && wait > manner.delay:
		wait -= manner.delay
	case report.before.ObservedGeneration > 0:
		status = manner.early(report.before, status)
	}
	if equality.Semantic.DeepEqual(said, status) {
		return wait, nil
	}
	asked.Status = status
	return wait, k.client.Status().Update(ctx, asked)
}

func (k *Knative) manner(namespace string) Manner {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.manners[namespace]
}

// hear notes when a generation was first seen, and what was said of the one before.
func (k *Knative) hear(asked *servingv1.Service) saying {
	k.mu.Lock()
	defer k.mu.Unlock()
	known := k.reports[asked.UID]
	if known.generation != asked.Generation {
		known = saying{generation: asked.Generation, since: time.Now(), before: *asked.Status.DeepCopy()}
		k.reports[asked.UID] = known
	}
	return known
}

// right is the status that is right. Where a revision that is asked for cannot be routed to, the traffic stays as it is.
func (k *Knative) right(asked *servingv1.Service, revisions map[string]*servingv1.Revision) servingv1.ServiceStatus {
	status := *asked.Status.DeepCopy()
	status.InitializeConditions()
	status.ObservedGeneration = asked.Generation
	configuration := configurationOf(asked, revisions[asked.Spec.Template.Name])
	status.PropagateConfigurationStatus(&configuration)
	route := servingv1.RouteStatus{RouteStatusFields: *status.RouteStatusFields.DeepCopy()}
	route.InitializeConditions()
	assign(&route, asked, revisions)
	status.PropagateRouteStatus(&route)
	return status
}

func configurationOf(asked *servingv1.Service, latest *servingv1.Revision) servingv1.ConfigurationStatus {
	status := servingv1.ConfigurationStatus{ConfigurationStatusFields: *asked.Status.ConfigurationStatusFields.DeepCopy()}
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

// assign routes to the revisions that are asked for, if it can to all of them.
func assign(route *servingv1.RouteStatus, asked *servingv1.Service, revisions map[string]*servingv1.Revision) {
	for _, target := range asked.Spec.Traffic {
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
	route.URL = apis.HTTP(asked.Name + "." + asked.Namespace + ".example.com")
	route.Address = &duckv1.Addressable{URL: apis.HTTP(asked.Name + "." + asked.Namespace + ".svc.cluster.local")}
	route.Traffic = nil
	for _, target := range asked.Spec.Traffic {
		if target.Tag != "" {
			target.URL = apis.HTTP(target.Tag + "-" + asked.Name + "." + asked.Namespace + ".example.com")
		}
		route.Traffic = append(route.Traffic, target)
	}
	ingress := networkingv1alpha1.IngressStatus{}
	ingress.InitializeConditions()
	ingress.MarkNetworkConfigured()
	ingress.MarkLoadBalancerReady(nil, nil)
	route.PropagateIngressStatus(ingress)
}
