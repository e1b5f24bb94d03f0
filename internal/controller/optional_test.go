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

// clusterWithoutGatewayAPI is a manager and a controller in a cluster that gets the Gateway API some day.
type clusterWithoutGatewayAPI struct {
	manager.Manager
	controller.Controller
	scheme *runtime.Scheme
	// discovery is what looking for the routes gives: nil where they are there.
	discovery error
	// watchErrs are what watching gives, in turn; nil once they are used up.
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
	return &clusterWithoutGatewayAPI{scheme: scheme, discovery: &apimeta.NoKindMatchError{}}
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

// IndexField refuses the second index of a name, as informers do.
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

// apiReader finds routes where the cluster has them.
type apiReader struct {
	client.Reader
	cluster *clusterWithoutGatewayAPI
}

func (r apiReader) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	if _, is := list.(*gatewayv1.HTTPRouteList); !is {
		return errors.New("looking for something else")
	}
	return r.cluster.discovery
}

func (c *clusterWithoutGatewayAPI) gateway() *optionalAPI {
	api := gatewayAPI(c, nil)
	api.controller = c
	return api
}

func TestRoutesAreWatchedFromTheStartWhereThereAreAny(t *testing.T) {
	c := newClusterWithoutGatewayAPI(t)
	c.discovery = nil
	gateway := c.gateway()
	if err := gateway.setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !gateway.installed.Load() || c.watched != 3 || len(c.added) > 0 {
		t.Errorf("installed: %t, watched %d times, %d runnables", gateway.installed.Load(), c.watched, len(c.added))
	}
}

// A definition that has just been deleted is still among what the cluster says that it has, and a watch of its objects
// would never be ready: only to ask for them tells.
func TestRoutesThatHaveJustGoneAreAwaited(t *testing.T) {
	c := newClusterWithoutGatewayAPI(t)
	c.discovery = apierrors.NewGenericServerResponse(http.StatusNotFound, "list", schema.GroupResource{}, "", "", 0, true)
	gateway := c.gateway()
	if err := gateway.setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if gateway.installed.Load() || c.watched > 0 || len(c.added) != 1 {
		t.Errorf("installed: %t, watched %d times, %d runnables", gateway.installed.Load(), c.watched, len(c.added))
	}
}

func TestAClusterThatCannotBeAskedStopsTheStart(t *testing.T) {
	c := newClusterWithoutGatewayAPI(t)
	c.discovery = errTransient
	if err := c.gateway().setup(t.Context()); !errors.Is(err, errTransient) {
		t.Errorf("error is %v", err)
	}
}

// TestRoutesAreWatchedOnceThereAreAny, whatever goes wrong before: the API server may be out of reach, or may not let
// them be watched yet.
func TestRoutesAreWatchedOnceThereAreAny(t *testing.T) {
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
			t.Error("a standby does not look for them")
		}
		done := make(chan error, 1)
		go func() { done <- c.added[0].Start(t.Context()) }()

		tick := func() {
			time.Sleep(time.Minute) // The time of the bubble, not of the world.
			synctest.Wait()
		}
		tick()
		c.discovery = errTransient
		tick()
		if gateway.installed.Load() {
			t.Error("they are said to be there")
		}
		c.discovery, c.watchErrs = nil, []error{errForbidden, errForbidden}
		tick()
		if !gateway.installed.Load() {
			t.Fatal("they are not watched after it was refused at first")
		}
		if err := <-done; err != nil {
			t.Errorf("error is %v", err)
		}
		if c.watched != 6 { // Two are refused, three are for the kinds of the API, and one wakes everybody.
			t.Errorf("watched %d times", c.watched)
		}
	})
}

func TestTheSearchForRoutesEndsWithTheManager(t *testing.T) {
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
