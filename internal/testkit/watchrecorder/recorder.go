// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package watchrecorder records all changes in a namespace in the order of the API server, and
// checks them against the rules that hold at every moment of a rollout.
package watchrecorder

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// Entry is one change of one object.
type Entry struct {
	// Version is the resource version of the change. All kinds share one counter.
	Version uint64
	// At is when the recorder received the change.
	At time.Time
	// Object is the object after the change, or its last state if it was deleted.
	Object  client.Object
	Deleted bool
}

// Recorder records the changes in one namespace.
type Recorder struct {
	client    client.WithWatch
	namespace string
	started   time.Time
	kinds     []client.ObjectList
	watches   []watch.Interface

	mu      sync.Mutex
	entries []Entry
	excused map[string]bool
}

func kinds(c client.Client) ([]client.ObjectList, error) {
	lists := []client.ObjectList{
		&v1beta1.InferenceServiceList{}, &appsv1.ControllerRevisionList{}, &appsv1.DeploymentList{}, &corev1.ServiceList{},
		&corev1.PodList{}, &discoveryv1.EndpointSliceList{},
	}
	for _, list := range []client.ObjectList{&gatewayv1.HTTPRouteList{}, &servingv1.ServiceList{}, &servingv1.RevisionList{}} {
		kind, err := c.GroupVersionKindFor(list)
		if err == nil {
			_, err = c.RESTMapper().RESTMapping(schema.GroupKind{Group: kind.Group, Kind: strings.TrimSuffix(kind.Kind, "List")}, kind.Version)
		}
		if apimeta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking up %T: %w", list, err)
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// Start starts recording. Stop ends it.
func Start(ctx context.Context, c client.WithWatch, namespace string) (*Recorder, error) {
	r := &Recorder{client: c, namespace: namespace, started: time.Now(), excused: map[string]bool{}}
	var err error
	if r.kinds, err = kinds(c); err != nil {
		return nil, err
	}
	for _, list := range r.kinds {
		// A watch without a resource version starts with the existing objects.
		watcher, err := c.Watch(ctx, list, client.InNamespace(namespace))
		if err != nil {
			r.Stop()
			return nil, fmt.Errorf("watching %T: %w", list, err)
		}
		r.watches = append(r.watches, watcher)
		go r.record(watcher)
	}
	return r, nil
}

// Stop ends the recording.
func (r *Recorder) Stop() {
	for _, watcher := range r.watches {
		watcher.Stop()
	}
}

func (r *Recorder) record(watcher watch.Interface) {
	for event := range watcher.ResultChan() {
		object, ok := event.Object.(client.Object)
		if !ok || event.Type == watch.Bookmark {
			continue
		}
		version, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
		if err != nil {
			panic(fmt.Sprintf("invalid resource version %q", object.GetResourceVersion()))
		}
		r.mu.Lock()
		r.entries = append(r.entries, Entry{
			Version: version, At: time.Now(), Object: object, Deleted: event.Type == watch.Deleted,
		})
		r.mu.Unlock()
	}
}

// Entries returns the changes in order.
func (r *Recorder) Entries() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	sorted := slices.Clone(r.entries)
	slices.SortStableFunc(sorted, func(a, b Entry) int { return cmp.Compare(a.Version, b.Version) })
	return sorted
}

// Excuse exempts an object that the test itself scales or deletes: from now on, that violates no
// rule.
func (r *Recorder) Excuse(object client.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.excused[keyOf(object)] = true
}

// ExcuseWrite exempts the last write of an object, which the test itself made. Later writes are
// checked.
func (r *Recorder) ExcuseWrite(object client.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.excused[object.GetResourceVersion()] = true
}

func (r *Recorder) isExcusedWrite(version uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.excused[strconv.FormatUint(version, 10)]
}

func (r *Recorder) isExcused(object client.Object) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.excused[keyOf(object)]
}

func keyOf(object client.Object) string { return fmt.Sprintf("%T %s", object, object.GetName()) }

// CatchUp waits until the recorder has received all changes. The writers must have stopped.
func (r *Recorder) CatchUp(ctx context.Context) error {
	var behind string
	err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		var err error
		behind, err = r.behind(ctx)
		return behind == "", err
	})
	if err != nil && behind != "" {
		return fmt.Errorf("the recorder has not received the last change of %s: %w", behind, err)
	}
	return err
}

// behind returns the key of an object whose current version the recorder has not received.
func (r *Recorder) behind(ctx context.Context) (string, error) {
	known := map[string]string{}
	for _, entry := range r.Entries() {
		key := keyOf(entry.Object)
		known[key] = entry.Object.GetResourceVersion()
		if entry.Deleted {
			delete(known, key)
		}
	}
	for _, list := range r.kinds {
		if err := r.client.List(ctx, list, client.InNamespace(r.namespace)); err != nil {
			return "", err
		}
		items, err := apimeta.ExtractList(list)
		if err != nil {
			return "", err
		}
		for _, item := range items {
			object, ok := item.(client.Object)
			if !ok {
				return "", fmt.Errorf("%T is not an object", item)
			}
			key := keyOf(object)
			if known[key] != object.GetResourceVersion() {
				return key, nil
			}
			delete(known, key)
		}
	}
	for key := range known {
		return key, nil
	}
	return "", nil
}
