// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package fakecluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Cluster holds the fake controllers of a cluster.
type Cluster struct {
	Workloads *Workloads
	Gateway   *Gateway
	// Knative is nil unless Options.Knative is set.
	Knative *Knative

	controllers []controller
	writes      int
}

// Options configures a Cluster.
type Options struct {
	// Knative enables the fake of Knative Serving. Its CRDs must be installed.
	Knative bool
	// Clock is the system clock by default.
	Clock clock.PassiveClock
}

// New returns fake controllers that act on a fake client in [Cluster.Step] and [Cluster.Settle].
func New(c client.WithWatch, options Options) *Cluster {
	cluster := &Cluster{}
	cluster.init(cluster.counting(c), options)
	return cluster
}

func (c *Cluster) init(kube client.Client, options Options) {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	c.Workloads, c.Gateway = newWorkloads(kube, options.Clock), newGateway(kube, options.Clock)
	c.controllers = []controller{c.Workloads.controller(), endpoints{kube}.controller(), c.Gateway.controller()}
	if options.Knative {
		c.Knative = newKnative(kube, options.Clock)
		c.controllers = slices.Insert(c.controllers, 0, c.Knative.controller())
	}
}

// counting returns a client that counts the writes of the controllers.
func (c *Cluster) counting(kube client.WithWatch) client.Client {
	count := func(err error) error {
		if err == nil {
			c.writes++
		}
		return err
	}
	return interceptor.NewClient(kube, interceptor.Funcs{
		Create: func(ctx context.Context, kube client.WithWatch, object client.Object, options ...client.CreateOption) error {
			return count(kube.Create(ctx, object, options...))
		},
		Update: func(ctx context.Context, kube client.WithWatch, object client.Object, options ...client.UpdateOption) error {
			return count(kube.Update(ctx, object, options...))
		},
		Delete: func(ctx context.Context, kube client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			return count(kube.Delete(ctx, object, options...))
		},
		SubResourceUpdate: func(ctx context.Context, kube client.Client, name string, object client.Object, options ...client.SubResourceUpdateOption) error {
			return count(kube.SubResource(name).Update(ctx, object, options...))
		},
	})
}

// Step lets each controller reconcile each of its objects once, in a fixed order. It reports
// whether anything changed.
func (c *Cluster) Step(ctx context.Context) (changed bool, err error) {
	before := c.writes
	for _, controller := range c.controllers {
		keys, err := controller.keys(ctx)
		if err != nil {
			return false, fmt.Errorf("listing the objects of the fake %s: %w", controller.name, err)
		}
		for _, key := range keys {
			if _, err := controller.sync(ctx, key); err != nil {
				return false, fmt.Errorf("%s: the fake %s: %w", key, controller.name, err)
			}
		}
	}
	return c.writes > before, nil
}

// Settle steps until nothing changes. It reports whether anything changed.
func (c *Cluster) Settle(ctx context.Context) (changed bool, err error) {
	for range 20 {
		moved, err := c.Step(ctx)
		if err != nil || !moved {
			return changed, err
		}
		changed = true
	}
	return changed, errors.New("the fake controllers do not settle")
}

// controller reconciles the objects of one kind.
type controller struct {
	name   string
	client client.Client
	kind   client.Object
	// watches maps objects of other kinds to those that depend on them.
	watches []watch
	// sync reconciles one object. It returns when to reconcile it again, or 0 to wait for a change.
	sync func(ctx context.Context, key types.NamespacedName) (time.Duration, error)
	// changes triggers a reconciliation: of one object, or of a namespace if the name is empty. It
	// is nil if no test can change the behavior.
	changes *changes
}

type watch struct {
	kind     client.Object
	requests handler.MapFunc
}

// changes passes changed behaviors to the manager. Without a manager, nothing listens.
type changes struct{ events chan event.GenericEvent }

func (c *changes) notify(object client.Object) {
	if c.events != nil {
		c.events <- event.GenericEvent{Object: object}
	}
}

// keys returns the sorted keys of all objects that exist or that others depend on.
func (c controller) keys(ctx context.Context) ([]types.NamespacedName, error) {
	objects, err := list(ctx, c.client, c.kind)
	if err != nil {
		return nil, err
	}
	var keys []types.NamespacedName
	for _, object := range objects {
		keys = append(keys, client.ObjectKeyFromObject(object))
	}
	for _, watch := range c.watches {
		objects, err := list(ctx, c.client, watch.kind)
		if err != nil {
			return nil, err
		}
		for _, object := range objects {
			for _, request := range watch.requests(ctx, object) {
				keys = append(keys, request.NamespacedName)
			}
		}
	}
	slices.SortFunc(keys, func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(keys), nil
}

// requestsFor returns requests for the named object or, without a name, for all of its kind in the
// namespace.
func (c controller) requestsFor(ctx context.Context, object client.Object) []reconcile.Request {
	if object.GetName() != "" {
		return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(object)}}
	}
	return requestsFor(ctx, c.client, c.kind, object.GetNamespace(), nil)
}

// requestsFor returns requests for the objects of a namespace that match.
func requestsFor(ctx context.Context, c client.Client, kind client.Object, namespace string, matches func(client.Object) bool) []reconcile.Request {
	objects, err := list(ctx, c, kind, client.InNamespace(namespace))
	if err != nil {
		return nil // The cache is not synced yet; each object is enqueued once it is.
	}
	var requests []reconcile.Request
	for _, object := range objects {
		if matches == nil || matches(object) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(object)})
		}
	}
	return requests
}

// list returns the objects of a kind.
func list(ctx context.Context, c client.Client, kind client.Object, options ...client.ListOption) ([]client.Object, error) {
	gvk, err := c.GroupVersionKindFor(kind)
	if err != nil {
		return nil, err
	}
	gvk.Kind += "List"
	empty, err := c.Scheme().New(gvk)
	if err != nil {
		return nil, err
	}
	found, ok := empty.(client.ObjectList)
	if !ok {
		return nil, fmt.Errorf("%s is not a list", gvk)
	}
	if err := c.List(ctx, found, options...); err != nil {
		return nil, err
	}
	var objects []client.Object
	return objects, apimeta.EachListItem(found, func(item runtime.Object) error {
		object, ok := item.(client.Object)
		if !ok {
			return fmt.Errorf("%T is not an object", item)
		}
		objects = append(objects, object)
		return nil
	})
}
