// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/knative"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/backend/pods"
	"github.com/serinus-io/serinus/internal/backend/standard"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/metrics"
)

// +kubebuilder:rbac:groups=serving.kserve.io,resources=inferenceservices,verbs=get;list;watch
// +kubebuilder:rbac:groups=serving.kserve.io,resources=inferenceservices/status,verbs=patch
// +kubebuilder:rbac:groups=serving.kserve.io,resources=inferenceservices/finalizers,verbs=update
// +kubebuilder:rbac:groups=serving.kserve.io,resources=servingruntimes;clusterservingruntimes,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions;deployments,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=services,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=scaling.serinus.io,resources=scaletargets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=scaling.serinus.io,resources=scaletargets/status,verbs=patch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=httproutes,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways;gatewayclasses,verbs=get;list;watch
// +kubebuilder:rbac:groups=serving.knative.dev,resources=services,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=serving.knative.dev,resources=revisions,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=autoscaling.internal.knative.dev,resources=podautoscalers,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

const (
	// maxBackoff limits the delay until the operator notices that a cause of failures is gone.
	maxBackoff, minBackoff = time.Minute, 10 * time.Millisecond
	// discoveryPeriod is how often the operator checks for an API that the cluster lacked at the
	// start.
	discoveryPeriod = 10 * time.Second
)

// Setup adds the controller to a manager whose cache uses [CacheOptions], and its metrics to the
// registerer. The account is the operator's own ServiceAccount.
func Setup(ctx context.Context, mgr manager.Manager, cfg *config.Config, registerer prometheus.Registerer, account Account) error {
	m, err := metrics.New(registerer, metrics.Options{
		Rollouts:       func() map[v1beta1.Phase]int { return countStatuses(mgr.GetClient(), phaseOf) },    //nolint:contextcheck // A scrape has no context.
		Waiting:        func() map[v1beta1.TrialWait]int { return countStatuses(mgr.GetClient(), waitOf) }, //nolint:contextcheck // As above.
		FailureReasons: append(pods.Reasons(), knative.FailureReasons()...),
	})
	if err != nil {
		return err
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1beta1.InferenceService{}, indexByHost, hostsOf(cfg.Ingress)); err != nil {
		return fmt.Errorf("indexing InferenceServices by their hosts: %w", err)
	}
	gateways, err := newGatewayCache(mgr, cfg)
	if err != nil {
		return fmt.Errorf("creating the cache of Gateways: %w", err)
	}
	if err := mgr.Add(gateways); err != nil {
		return fmt.Errorf("adding the cache of Gateways: %w", err)
	}
	gateway, serving, scaling, policies := gatewayAPI(mgr, gateways), knativeServing(mgr), scaleTargets(mgr), canaryPolicies(mgr, gateways)
	queue := &lateQueue{}
	automation, err := newAutomation(mgr, cfg.Analysis, registerer, queue)
	if err != nil {
		return err
	}
	automation.Policies, automation.Installed = gateways, policies.installed.Load
	reconciler := &Reconciler{
		Client:    mgr.GetClient(),
		APIReader: mgr.GetAPIReader(),
		Backends: map[v1beta1.DeploymentMode]Backend{
			v1beta1.DeploymentModeStandard: &standard.Backend{
				Store: newStore(mgr), Config: cfg, Gateways: gateways, RoutesInstalled: gateway.installed.Load,
				ScaleTargetsInstalled: scaling.installed.Load,
			},
			v1beta1.DeploymentModeKnative: &knative.Backend{
				Store: newStore(mgr), Config: cfg, Clock: clock.RealClock{}, Gateways: gateways, Installed: serving.installed.Load,
				RoutesInstalled: gateway.installed.Load,
			},
		},
		Config:   cfg,
		Recorder: mgr.GetEventRecorder("serinus"),
		Metrics:  m,
		Clock:    clock.RealClock{},
		Account:  account,

		Automation: automation,
	}
	build := ctrl.NewControllerManagedBy(mgr).
		Named("inferenceservice").
		For(&v1beta1.InferenceService{}).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: cfg.Controller.Concurrency,
			EnableWarmup:            new(true),
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minBackoff, maxBackoff),
		})
	for _, kind := range append(standard.Children(), standard.Peers()...) {
		if err := mgr.GetFieldIndexer().IndexField(ctx, kind, objects.IndexByInferenceService, objects.InferenceServiceOf); err != nil {
			return fmt.Errorf("indexing %T: %w", kind, err)
		}
		build = build.Watches(kind, handler.EnqueueRequestsFromMapFunc(enqueueOwner), builder.WithPredicates(ignoreHPAStatus))
	}
	all := handler.EnqueueRequestsFromMapFunc(enqueueAll(mgr.GetClient()))
	build = build.
		Watches(&v1alpha1.ServingRuntime{}, all, builder.WithPredicates(runtimeChanged)).
		Watches(&v1alpha1.ClusterServingRuntime{}, all, builder.WithPredicates(runtimeChanged))
	build = build.WatchesRawSource(queue.source())
	changed := make(chan event.TypedGenericEvent[client.Object])
	build = build.WatchesRawSource(source.Channel(changed, &handler.EnqueueRequestForObject{}))
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		reconciler.watchCredentials(ctx, changed)
		return nil
	})); err != nil {
		return fmt.Errorf("adding the check of credentials: %w", err)
	}
	built, err := build.Build(reconcile.Func(reconciler.reconcileRequest))
	if err != nil {
		return fmt.Errorf("building the controller: %w", err)
	}
	for _, api := range []*optionalAPI{gateway, serving, scaling, policies} {
		api.controller = built
		if err := api.setup(ctx); err != nil {
			return err
		}
	}
	return nil
}

func newStore(mgr manager.Manager) objects.Store {
	return objects.Store{Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Scheme: mgr.GetScheme()}
}

// ignoreHPAStatus drops updates that change only an HPA's status, which an autoscaler writes every
// few seconds.
var ignoreHPAStatus = predicate.Funcs{UpdateFunc: func(update event.UpdateEvent) bool {
	before, ok := update.ObjectOld.(*autoscalingv2.HorizontalPodAutoscaler)
	after, both := update.ObjectNew.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok || !both || before.ResourceVersion == after.ResourceVersion {
		return true // Resyncs pass.
	}
	intent := func(hpa *autoscalingv2.HorizontalPodAutoscaler) *autoscalingv2.HorizontalPodAutoscaler {
		meta := hpa.ObjectMeta
		meta.ResourceVersion = ""
		return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: meta, Spec: hpa.Spec}
	}
	return !equality.Semantic.DeepEqual(intent(before), intent(after))
}}

// runtimeChanged keeps the changes of a serving runtime that can affect pods: its spec, and its
// server type, which is an annotation.
var runtimeChanged = predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})

func phaseOf(s v1beta1.InferenceServiceStatus) v1beta1.Phase { return s.Phase }

func waitOf(s v1beta1.InferenceServiceStatus) v1beta1.TrialWait {
	return objects.ValueOr(s.Rollout, v1beta1.RolloutStatus{}).WaitingFor
}

// countStatuses counts the InferenceServices by a label of their status.
func countStatuses[L ~string](reader client.Reader, label func(v1beta1.InferenceServiceStatus) L) map[L]int {
	var list v1beta1.InferenceServiceList
	if err := reader.List(context.Background(), &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil // The cache has not synced yet.
	}
	counts := map[L]int{}
	for i := range list.Items {
		counts[label(list.Items[i].Status)]++
	}
	return counts
}

// enqueueOwner maps an object to its InferenceService by the label. An object whose owner reference
// was removed is found too.
func enqueueOwner(_ context.Context, object client.Object) []reconcile.Request {
	name := object.GetLabels()[v1beta1.LabelInferenceService]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: name}}}
}

// enqueueAll maps a serving runtime to all InferenceServices that could use it: those of its
// namespace, or all. The choice of a runtime depends on all that exist.
func enqueueAll(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, runtime client.Object) []reconcile.Request {
		var list v1beta1.InferenceServiceList
		if err := reader.List(ctx, &list, client.InNamespace(runtime.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
			logf.FromContext(ctx).Error(err, "Listing the InferenceServices that could use a serving runtime")
			return nil
		}
		requests := make([]reconcile.Request, len(list.Items))
		for i := range list.Items {
			requests[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
		}
		return requests
	}
}
