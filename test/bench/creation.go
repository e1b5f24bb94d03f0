// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
)

const warmUp = 20

// The two namespaces of a round. Their names have the same length, so that requests have the same
// size. Round 0 is the warm-up.
func operatorNamespaceOf(round int) string { return fmt.Sprintf("compared-%02d-a", round) }
func bareNamespaceOf(round int) string     { return fmt.Sprintf("compared-%02d-b", round) }

func (b *bench) creationNamespaces() []string {
	var all []string
	for round := range b.options.rounds + 1 {
		all = append(all, operatorNamespaceOf(round), bareNamespaceOf(round))
	}
	return all
}

type comparison struct {
	// operator is the time until the last InferenceService was Ready. bareWritten is the time until
	// the last write of the bare client, and bareSettled until the fake controllers were done with
	// its objects.
	operator, bareWritten, bareSettled time.Duration
	writes, bareWrites                 []*request
	reads                              []*request
}

func (c comparison) ratio() float64        { return c.operator.Seconds() / c.bareWritten.Seconds() }
func (c comparison) settledRatio() float64 { return c.operator.Seconds() / c.bareSettled.Seconds() }

// compareCreation compares the time in which the operator makes InferenceServices Ready with the
// time in which a bare client sends the same writes. Each round starts with an empty cluster and a
// new process of the operator.
func (b *bench) compareCreation(ctx context.Context) error {
	if b.options.rounds == 0 {
		return nil
	}
	var all []comparison
	for round := range b.options.rounds + 1 {
		count := b.options.services
		if round == 0 {
			count = warmUp
		}
		result, err := b.compareOnce(ctx, round, count)
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		b.logf("round %d: %d Ready in %.1fs with %d writes; a bare client needs %.1fs for %d writes, %.1fs with the fake controllers; ratio %.2f, %.2f",
			round, count, result.operator.Seconds(), len(result.writes), result.bareWritten.Seconds(), len(result.bareWrites),
			result.bareSettled.Seconds(), result.ratio(), result.settledRatio())
		if round > 0 {
			all = append(all, result)
		}
	}
	b.report.creation(all)
	return nil
}

func (b *bench) compareOnce(ctx context.Context, round, count int) (comparison, error) {
	var result comparison
	if err := b.launchOperator(ctx, nil); err != nil {
		return result, err
	}
	if _, err := b.idle(ctx); err != nil {
		return result, err
	}
	if _, err := b.audit.next(); err != nil {
		return result, err
	}
	created := names(operatorNamespaceOf(round), 0, count)
	took, err := b.makeReady(ctx, created)
	if err != nil {
		return result, err
	}
	result.operator = took
	if _, err := b.idle(ctx); err != nil {
		return result, err
	}
	if err := b.stopOperator(ctx); err != nil {
		return result, err
	}
	requests, err := b.audit.next()
	if err != nil {
		return result, err
	}
	requests = byUser(requests, operatorUser)
	result.writes = filter(requests, (*request).writes)
	result.reads = filter(requests, func(r *request) bool { return r.Verb == "get" && r.ObjectRef.Resource != "" })
	if err := b.replay(ctx, &result, created, bareNamespaceOf(round)); err != nil {
		return result, fmt.Errorf("replaying: %w", err)
	}
	if requests, err = b.audit.next(); err != nil {
		return result, err
	}
	result.bareWrites = filter(byUser(requests, userOf(bareAccount)), (*request).writes)
	for _, namespace := range []string{operatorNamespaceOf(round), bareNamespaceOf(round)} {
		if err := b.deleteAll(ctx, namespace); err != nil {
			return result, fmt.Errorf("cleaning up: %w", err)
		}
	}
	return result, nil
}

func (b *bench) makeReady(ctx context.Context, created []types.NamespacedName) (time.Duration, error) {
	expected := b.tracker.expect(created, isReady)
	begin := time.Now()
	if err := b.create(ctx, created); err != nil {
		return 0, err
	}
	end, err := b.tracker.await(ctx, expected)
	return end.Sub(begin), err
}

// replay creates the same InferenceServices in another namespace as the user and sends the writes
// of the operator as the bare client, in the same order for each InferenceService.
func (b *bench) replay(ctx context.Context, result *comparison, originals []types.NamespacedName, namespace string) error {
	scripts := b.scripts(result.writes, originals)
	created := make(chan types.NamespacedName, len(originals))
	begin := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(created)
		creators, ctx := errgroup.WithContext(ctx)
		creators.SetLimit(concurrency)
		for _, name := range originals {
			creators.Go(func() error {
				isvc := inferenceService(types.NamespacedName{Namespace: namespace, Name: name.Name})
				if err := b.user.Create(ctx, isvc); err != nil {
					return err
				}
				for _, write := range scripts[name.Name] {
					write.body = bytes.ReplaceAll(write.body, []byte(b.tracker.uid(name)), []byte(isvc.GetUID()))
					write.body = bytes.ReplaceAll(write.body, []byte(name.Namespace), []byte(namespace))
				}
				created <- name
				return nil
			})
		}
		return creators.Wait()
	})
	for range concurrency {
		group.Go(func() error {
			for name := range created {
				for _, write := range scripts[name.Name] {
					if err := write.send(ctx, b.bare, namespace); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	result.bareWritten = time.Since(begin)
	err := wait.PollUntilContextTimeout(context.WithoutCancel(ctx), 50*time.Millisecond, waitTimeout, true, func(ctx context.Context) (bool, error) {
		return b.controllers.settled(ctx, namespace, len(originals), len(originals))
	})
	result.bareSettled = time.Since(begin)
	return err
}

type write struct {
	request *request
	body    []byte
	object  func() client.Object
}

// scripts groups the operator's writes by InferenceService, whose name is a prefix of the names of
// its objects.
func (b *bench) scripts(requests []*request, originals []types.NamespacedName) map[string][]*write {
	length := len(serviceName(0))
	sorted := slices.Clone(requests)
	slices.SortStableFunc(sorted, func(a, b *request) int { return a.Received.Compare(b.Received.Time) })
	scripts := make(map[string][]*write, len(originals))
	for _, r := range sorted {
		if r.failed() || len(r.ObjectRef.Name) < length {
			continue
		}
		name := r.ObjectRef.Name[:length]
		scripts[name] = append(scripts[name], &write{request: r, body: withoutVersion(r), object: b.kindOf(r)})
	}
	return scripts
}

func withoutVersion(r *request) []byte {
	var body map[string]any
	if err := json.Unmarshal(r.RequestObject, &body); err != nil {
		return r.RequestObject
	}
	if metadata, ok := body["metadata"].(map[string]any); ok {
		delete(metadata, "resourceVersion")
		delete(metadata, "uid")
	}
	changed, err := json.Marshal(body)
	if err != nil {
		return r.RequestObject
	}
	return changed
}

func (b *bench) kindOf(r *request) func() client.Object {
	resource := schema.GroupVersionResource{Group: r.ObjectRef.APIGroup, Version: r.ObjectRef.APIVersion, Resource: r.ObjectRef.Resource}
	return func() client.Object {
		kind, err := b.bare.RESTMapper().KindFor(resource)
		if err != nil {
			return nil
		}
		instance, err := b.bare.Scheme().New(kind)
		if err != nil {
			return nil
		}
		object, _ := instance.(client.Object)
		return object
	}
}

func (w *write) send(ctx context.Context, to client.Client, namespace string) error {
	object := w.object()
	if object == nil {
		return fmt.Errorf("the operator writes %s, whose kind is not in the scheme of this program", w.request.resource())
	}
	if err := w.try(ctx, to, namespace, object); err != nil {
		return fmt.Errorf("%s %s %s: %w", w.request.Verb, w.request.resource(), w.request.ObjectRef.Name, err)
	}
	return nil
}

func (w *write) try(ctx context.Context, to client.Client, namespace string, object client.Object) error {
	switch w.request.Verb {
	case "create":
		if err := json.Unmarshal(w.body, object); err != nil {
			return err
		}
		object.SetNamespace(namespace)
		return to.Create(ctx, object)
	case "patch":
		object.SetNamespace(namespace)
		object.SetName(w.request.ObjectRef.Name)
		address, err := url.Parse(w.request.RequestURI)
		if err != nil {
			return err
		}
		patch, options := client.RawPatch(types.MergePatchType, w.body), []client.PatchOption{client.FieldOwner(address.Query().Get("fieldManager"))}
		if address.Query().Get("force") == "true" {
			patch, options = client.RawPatch(types.ApplyPatchType, w.body), append(options, client.ForceOwnership)
		}
		if w.request.ObjectRef.Subresource == "status" {
			return to.Status().Patch(ctx, object, patch, &client.SubResourcePatchOptions{PatchOptions: *(&client.PatchOptions{}).ApplyOptions(options)})
		}
		return to.Patch(ctx, object, patch, options...)
	default:
		return fmt.Errorf("this program cannot repeat a %s", w.request.Verb)
	}
}

// deleteAll deletes InferenceServices and their objects. The cluster has no garbage collector.
func (b *bench) deleteAll(ctx context.Context, namespace string) error {
	for _, kind := range []client.Object{
		&v1beta1.InferenceService{}, &gatewayv1.HTTPRoute{}, &appsv1.Deployment{}, &appsv1.ControllerRevision{},
		&autoscalingv2.HorizontalPodAutoscaler{}, &discoveryv1.EndpointSlice{}, &eventsv1.Event{},
	} {
		if err := b.admin.DeleteAllOf(ctx, kind, client.InNamespace(namespace)); err != nil {
			return err
		}
	}
	if err := b.admin.DeleteAllOf(ctx, &corev1.Service{}, client.InNamespace(namespace)); err != nil {
		return err
	}
	return b.admin.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(namespace), client.GracePeriodSeconds(0))
}
