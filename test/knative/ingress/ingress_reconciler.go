// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/networking/pkg/apis/networking"
	netv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/http/header"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const probeInterval = 50 * time.Millisecond

type ingressReconciler struct {
	writer
	gateway Gateway
	probes  *http.Client
}

func newIngressReconciler(w writer, gateway Gateway) *ingressReconciler {
	return &ingressReconciler{writer: w, gateway: gateway, probes: &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true},
	}}
}

func (r *ingressReconciler) setUp(mgr ctrl.Manager) error {
	ours := predicate.NewPredicateFuncs(func(object client.Object) bool {
		return object.GetAnnotations()[networking.IngressClassAnnotationKey] == Class
	})
	return ctrl.NewControllerManagedBy(mgr).Named("ingresses").
		For(&netv1alpha1.Ingress{}, builder.WithPredicates(ours)).
		Owns(&gatewayv1.HTTPRoute{}).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.enqueueUnready)).
		Complete(reconcile.AsReconciler(r.Client, r))
}

// enqueueUnready enqueues the Ingresses in the namespace of a Service that are not ready. They may
// be waiting for the Service of a hop.
func (r *ingressReconciler) enqueueUnready(ctx context.Context, service client.Object) []reconcile.Request {
	var all netv1alpha1.IngressList
	if err := r.List(ctx, &all, client.InNamespace(service.GetNamespace())); err != nil {
		return nil // The cache has been stopped because the program ends.
	}
	var unready []reconcile.Request
	for i := range all.Items {
		if !all.Items[i].IsReady() {
			unready = append(unready, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return unready
}

// Reconcile writes the HTTPRoutes of an Ingress and marks it as ready when they are served.
func (r *ingressReconciler) Reconcile(ctx context.Context, ingress *netv1alpha1.Ingress) (ctrl.Result, error) {
	if !ingress.DeletionTimestamp.IsZero() || ingress.Annotations[networking.IngressClassAnnotationKey] != Class {
		return ctrl.Result{}, nil
	}
	before := ingress.DeepCopy()
	ingress.Status.InitializeConditions()
	ingress.Status.ObservedGeneration = ingress.Generation
	result, err := r.serve(ctx, ingress)
	if err != nil && !errors.Is(err, reconcile.TerminalError(nil)) {
		markNotReady(ingress, "Failed", err.Error()) // It may have been ready at an earlier generation.
	}
	if equality.Semantic.DeepEqual(before.Status, ingress.Status) {
		return result, err
	}
	patchErr := r.Status().Patch(ctx, ingress, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(patchErr) { // The cache was stale.
		result, patchErr = ctrl.Result{RequeueAfter: probeInterval}, nil
	}
	return result, errors.Join(err, patchErr)
}

func (r *ingressReconciler) serve(ctx context.Context, ingress *netv1alpha1.Ingress) (ctrl.Result, error) {
	routes, err := Routes(ingress, r.gateway.reference())
	if err != nil {
		ingress.Status.MarkLoadBalancerFailed("Unsupported", err.Error())
		return ctrl.Result{}, reconcile.TerminalError(err)
	}
	missing, err := r.missingHop(ctx, routes)
	if err != nil {
		return ctrl.Result{}, err
	}
	if missing != "" { // Its creation triggers another reconciliation.
		markNotReady(ingress, "HopMissing", fmt.Sprintf("Waiting for the Service %s", missing))
		return ctrl.Result{}, nil
	}
	if err := r.write(ctx, ingress, routes); err != nil {
		return ctrl.Result{}, err
	}
	ingress.Status.MarkNetworkConfigured()
	for _, route := range routes {
		if err := accepted(route); err != nil { // A change of its status triggers another reconciliation.
			markNotReady(ingress, "RouteNotAccepted", fmt.Sprintf("HTTPRoute %s: %v", route.Name, err))
			return ctrl.Result{}, nil
		}
	}
	for _, route := range routes {
		if !r.served(ctx, route) {
			markNotReady(ingress, "RouteNotServed", fmt.Sprintf("The gateway does not serve the HTTPRoute %s yet", route.Name))
			return ctrl.Result{RequeueAfter: probeInterval}, nil
		}
	}
	ingress.Status.MarkLoadBalancerReady(
		[]netv1alpha1.LoadBalancerIngressStatus{{DomainInternal: r.gateway.Internal}},
		[]netv1alpha1.LoadBalancerIngressStatus{{DomainInternal: r.gateway.Internal}},
	)
	return ctrl.Result{}, nil
}

// markNotReady marks the Ingress as not ready, which is not a failure.
func markNotReady(ingress *netv1alpha1.Ingress, reason, message string) {
	ingress.Status.MarkLoadBalancerNotReady()
	ingress.Status.MarkIngressNotReady(reason, message)
}

// missingHop returns the name of a backend Service that does not exist yet, or "".
func (r *ingressReconciler) missingHop(ctx context.Context, routes []*gatewayv1.HTTPRoute) (string, error) {
	for _, route := range routes {
		for i := range route.Spec.Rules {
			for _, backend := range route.Spec.Rules[i].BackendRefs {
				name := types.NamespacedName{Namespace: route.Namespace, Name: string(backend.Name)}
				if err := r.Get(ctx, name, &corev1.Service{}); apierrors.IsNotFound(err) {
					return name.Name, nil
				} else if err != nil {
					return "", err
				}
			}
		}
	}
	return "", nil
}

// write applies the HTTPRoutes, updates them from the responses, and deletes the Ingress's other
// HTTPRoutes.
func (r *ingressReconciler) write(ctx context.Context, ingress *netv1alpha1.Ingress, routes []*gatewayv1.HTTPRoute) error {
	for _, route := range routes {
		if err := r.apply(ctx, route); err != nil {
			return err
		}
	}
	var all gatewayv1.HTTPRouteList
	if err := r.List(ctx, &all, client.InNamespace(ingress.Namespace)); err != nil {
		return err
	}
	for i := range all.Items {
		old := &all.Items[i]
		desired := slices.ContainsFunc(routes, func(route *gatewayv1.HTTPRoute) bool { return route.Name == old.Name })
		if desired || !metav1.IsControlledBy(old, ingress) {
			continue
		}
		if err := client.IgnoreNotFound(r.Delete(ctx, old)); err != nil {
			return err
		}
	}
	return nil
}

// accepted returns nil if the gateway has accepted the HTTPRoute at its generation and has resolved
// its references.
func accepted(route *gatewayv1.HTTPRoute) error {
	for i := range route.Status.Parents {
		for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
			condition := apimeta.FindStatusCondition(route.Status.Parents[i].Conditions, string(kind))
			switch {
			case condition == nil || condition.ObservedGeneration != route.Generation:
				return fmt.Errorf("%s is not known", kind)
			case condition.Status != metav1.ConditionTrue:
				return fmt.Errorf("%s is %s: %s", kind, condition.Status, condition.Message)
			}
		}
	}
	if len(route.Status.Parents) == 0 {
		return errors.New("no gateway has reported a status")
	}
	return nil
}

// served reports whether the gateway serves the current content of the HTTPRoute.
func (r *ingressReconciler) served(ctx context.Context, route *gatewayv1.HTTPRoute) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.gateway.Address+"/", http.NoBody)
	if err != nil {
		return false
	}
	request.Host = string(route.Spec.Hostnames[0])
	request.Header.Set(header.ProbeKey, probeValue)
	response, err := r.probes.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.Header.Get(header.HashKey) == hashOf(route)
}
