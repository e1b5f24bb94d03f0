// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// clusterWithoutGatewayAPI is a manager and a controller in a cluster that may get the Gateway API
// later.
type clusterWithoutGatewayAPI struct {
	manager.Manager
	controller.Controller
	scheme *runtime.Scheme
	// listErr is the result of listing HTTPRoutes. It is nil if the API server serves them.
	listErr error
	// watchErrs are the results of the first watches.
	watchErrs []error
	indexed   bool
	watched   int
	added     []manager.Runnable
}

func newClusterWithoutGatewayAPI(t *testing.T) *clusterWithoutGatewayAPI {
	t.Helper()
	scheme, err := NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	return &clusterWithoutGatewayAPI{scheme: scheme, listErr: &apimeta.NoKindMatchError{}}
}

func (c *clusterWithoutGatewayAPI) GetScheme() *runtime.Scheme           { return c.scheme }
func (c *clusterWithoutGatewayAPI) GetAPIReader() client.Reader          { return apiReader{cluster: c} }
func (c *clusterWithoutGatewayAPI) GetLogger() logr.Logger               { return logr.Discard() }
func (c *clusterWithoutGatewayAPI) GetCache() cache.Cache                { return nil }
func (c *clusterWithoutGatewayAPI) GetClient() client.Client             { return nil }
func (c *clusterWithoutGatewayAPI) GetFieldIndexer() client.FieldIndexer { return c }
func (c *clusterWithoutGatewayAPI) Add(runnable manager.Runnable) error {
	c.added = append(c.added, runnable)
	return nil
}

func (c *clusterWithoutGatewayAPI) Start(context.Context) error { return nil }

// IndexField rejects a second index of the same name, as informers do.
func (c *clusterWithoutGatewayAPI) IndexField(context.Context, client.Object, string, client.IndexerFunc) error {
	if c.indexed {
		return errors.New("indexer conflict")
	}
	c.indexed = true
	return nil
}

func (c *clusterWithoutGatewayAPI) Watch(source.TypedSource[reconcile.Request]) error {
	c.watched++
	if len(c.watchErrs) > 0 {
		err := c.watchErrs[0]
		c.watchErrs = c.watchErrs[1:]
		return err
	}
	return nil
}

// apiReader answers lists of HTTPRoutes with listErr.
type apiReader struct {
	client.Reader
	cluster *clusterWithoutGatewayAPI
}

func (r apiReader) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	if _, is := list.(*gatewayv1.HTTPRouteList); !is {
		return errors.New("unexpected kind")
	}
	return r.cluster.listErr
}

func (c *clusterWithoutGatewayAPI) gateway() *optionalAPI {
	api := gatewayAPI(c, nil)
	api.controller = c
	return api
}

func TestGatewayAPIIsWatchedFromTheStart(t *testing.T) {
	c := newClusterWithoutGatewayAPI(t)
	c.listErr = nil
	gateway := c.gateway()
	if err := gateway.setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !gateway.installed.Load() || c.watched != 3 || len(c.added) > 0 {
		t.Errorf("installed: %t, watched %d times, %d runnables", gateway.installed.Load(), c.watched, len(c.added))
	}
}

// TestRemovedGatewayAPIIsAwaited covers a CRD that was just deleted. Discovery still shows its
// kind, but a watch of it would never sync.
func TestRemovedGatewayAPIIsAwaited(t *testing.T) {
	c := newClusterWithoutGatewayAPI(t)
	c.listErr = apierrors.NewGenericServerResponse(http.StatusNotFound, "list", schema.GroupResource{}, "", "", 0, true)
	gateway := c.gateway()
	if err := gateway.setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if gateway.installed.Load() || c.watched > 0 || len(c.added) != 1 {
		t.Errorf("installed: %t, watched %d times, %d runnables", gateway.installed.Load(), c.watched, len(c.added))
	}
}

func TestSetupFailsIfTheAPIServerFails(t *testing.T) {
	c := newClusterWithoutGatewayAPI(t)
	c.listErr = errTransient
	if err := c.gateway().setup(t.Context()); !errors.Is(err, errTransient) {
		t.Errorf("error is %v", err)
	}
}

// TestGatewayAPIIsWatchedOnceInstalled also covers an API server that is unreachable or does not
// serve the watches yet.
func TestGatewayAPIIsWatchedOnceInstalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClusterWithoutGatewayAPI(t)
		gateway := c.gateway()
		if err := gateway.setup(t.Context()); err != nil {
			t.Fatal(err)
		}
		if gateway.installed.Load() || len(c.added) != 1 {
			t.Fatalf("installed: %t, %d runnables", gateway.installed.Load(), len(c.added))
		}
		if elected, ok := c.added[0].(manager.LeaderElectionRunnable); !ok || elected.NeedLeaderElection() {
			t.Error("a standby does not wait for the API")
		}
		done := make(chan error, 1)
		go func() { done <- c.added[0].Start(t.Context()) }()

		tick := func() {
			time.Sleep(time.Minute) // Fake time of the synctest bubble.
			synctest.Wait()
		}
		tick()
		c.listErr = errTransient
		tick()
		if gateway.installed.Load() {
			t.Error("the API is reported as installed")
		}
		c.listErr, c.watchErrs = nil, []error{errForbidden, errForbidden}
		tick()
		if !gateway.installed.Load() {
			t.Fatal("the API is not watched after two failed watches")
		}
		if err := <-done; err != nil {
			t.Errorf("error is %v", err)
		}
		if c.watched != 6 { // Two fail, three are for the kinds of the API, and one enqueues all InferenceServices.
			t.Errorf("watched %d times", c.watched)
		}
	})
}

func TestAwaitEndsWithTheManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := newClusterWithoutGatewayAPI(t)
		if err := c.gateway().setup(ctx); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- c.added[0].Start(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("error is %v", err)
		}
	})
}
