// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

// traffic sends requests through a gateway whose data plane may lag behind its controller.
type traffic struct {
	*cluster
	lag time.Duration
	// stuck makes the data plane ignore new configuration.
	stuck bool

	configured []routed
	served     rollout.Split
	// answered and failed count requests by their revisions.
	answered, failed map[rollout.Number]int
}

// routed is an accepted split, with the time of its acceptance.
type routed struct {
	split rollout.Split
	at    time.Time
}

const tick = 4 * time.Second

func newTraffic(t *testing.T, lag time.Duration) *traffic {
	t.Helper()
	g := &traffic{cluster: newCluster(t), lag: lag, answered: map[rollout.Number]int{}, failed: map[rollout.Number]int{}}
	g.policy.DrainPeriod = config.Default().Rollout.DrainPeriod.Duration
	g.settle()
	g.served = g.split()
	return g
}

func (g *traffic) split() rollout.Split { return splitOf(g.isvc(), g.route()) }

// run advances the time, while the operator and the cluster work and clients send requests.
func (g *traffic) run(until time.Duration) {
	g.T.Helper()
	for end := g.now.Add(until); g.now.Before(end); g.now = g.now.Add(tick) {
		if _, err := g.reconcile(); err != nil && !backend.IsStale(err) {
			g.T.Fatal(err)
		}
		g.runControllers()
		g.follow()
		g.request()
	}
}

func (g *traffic) follow() {
	g.T.Helper()
	now := g.split()
	if len(g.configured) == 0 || !g.configured[len(g.configured)-1].split.Equal(now) {
		g.configured = append(g.configured, routed{now, g.now})
	}
	for _, configuration := range g.configured {
		if !g.stuck && !g.now.Before(configuration.at.Add(g.lag)) {
			g.served = configuration.split
		}
	}
}

func (g *traffic) request() {
	g.T.Helper()
	for _, share := range g.served.Shares() {
		if share.Percent == 0 {
			continue
		}
		slice := &discoveryv1.EndpointSlice{}
		if g.Has(fakecluster.EndpointSliceName(backend.RevisionName(isvcName, share.Revision)), slice) && len(slice.Endpoints) > 0 {
			g.answered[share.Revision]++
		} else {
			g.failed[share.Revision]++
		}
	}
}

// programmed sets the Programmed condition of the Gateway at a generation.
func (g *traffic) programmed(generation int64, condition *metav1.Condition) {
	g.T.Helper()
	reported := testkit.NewGateway("kserve-ingress-gateway", generation, "http")
	if condition != nil {
		reported.Status.Conditions = []metav1.Condition{*condition}
	}
	found := &gatewayv1.Gateway{}
	if err := g.server.Get(g.T.Context(), client.ObjectKeyFromObject(reported), found); err != nil {
		g.Must(client.IgnoreNotFound(err))
		g.Must(g.server.Create(g.T.Context(), reported))
		return
	}
	reported.ResourceVersion = found.ResourceVersion
	g.Must(g.server.Update(g.T.Context(), reported))
}

func (g *traffic) runs(n rollout.Number) bool {
	g.T.Helper()
	deployment := &appsv1.Deployment{}
	return g.Has(deploymentName(isvcName, n), deployment) && *deployment.Spec.Replicas > 0
}

func (g *traffic) wantNoFailures() {
	g.T.Helper()
	if len(g.failed) > 0 {
		g.T.Errorf("requests failed, by revision: %v; answered were %v", g.failed, g.answered)
	}
}

// TestNoRequestFailsBehindLaggingDataPlane: after a restart, a gateway's controller accepts routes
// before its data plane follows.
func TestNoRequestFailsBehindLaggingDataPlane(t *testing.T) {
	rollouts := func(g *traffic) {
		g.ask("b", 20)
		g.run(time.Minute)
		g.ask("b", -1) // Promotion.
		g.run(4 * time.Minute)
		g.ask("b", 0) // The promotion is undone after the previous revision was scaled down.
		g.run(4 * time.Minute)
		g.ask("c", -1)
		g.run(4 * time.Minute)
	}
	for _, lag := range []time.Duration{0, 28 * time.Second, 32 * time.Second} {
		t.Run(lag.String(), func(t *testing.T) {
			g := newTraffic(t, lag)
			rollouts(g)
			g.wantNoFailures()
			if g.runs(1) || g.runs(2) || !g.runs(3) || g.answered[2] == 0 {
				t.Errorf("revisions 1 and 2 run: %t, %t; 3 runs: %t; answered were %v", g.runs(1), g.runs(2), g.runs(3), g.answered)
			}
		})
	}
	t.Run("which a shorter drain shows", func(t *testing.T) {
		g := newTraffic(t, 32*time.Second)
		g.policy.DrainPeriod = 20 * time.Second
		rollouts(g)
		if len(g.failed) == 0 {
			t.Error("no request has failed")
		}
	})
}

// TestNoDrainWhileGatewayIsNotProgrammed: the gateway accepts each generation of the route while
// its data plane serves the one before.
func TestNoDrainWhileGatewayIsNotProgrammed(t *testing.T) {
	refused := testkit.Programmed(1, no)
	for name, report := range map[string]func(g *traffic){
		"the Gateway says so": func(g *traffic) { g.programmed(1, &refused) },
		"a listener says so": func(g *traffic) {
			g.programmed(1, nil)
			found := &gatewayv1.Gateway{}
			g.Must(g.server.Get(g.T.Context(), client.ObjectKey{Namespace: "kserve", Name: "kserve-ingress-gateway"}, found))
			found.Status.Listeners[0].Conditions = []metav1.Condition{refused}
			g.Must(g.server.Update(g.T.Context(), found))
		},
		"the Gateway has yet to report on a change": func(g *traffic) {
			condition := testkit.Programmed(1, yes)
			g.programmed(2, &condition)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newTraffic(t, 0)
			report(g)
			g.stuck = true
			g.ask("b", 30)
			g.run(time.Minute)
			g.ask("b", -1)
			g.run(20 * time.Minute)
			g.wantNoFailures()
			if !g.runs(1) || g.answered[2] > 0 {
				t.Errorf("revision 1 runs: %t; answered were %v", g.runs(1), g.answered)
			}
			observed, err := g.observe()
			g.Must(err)
			decision := g.decide(observed)
			if decision.Programmed || observed.RouteStatus.Message == "" {
				t.Errorf("it is programmed: %t; users read %q", decision.Programmed, observed.RouteStatus.Message)
			}

			programmed := testkit.Programmed(2, yes)
			g.programmed(2, &programmed)
			g.stuck = false
			g.run(5 * time.Minute)
			g.wantNoFailures()
			if g.runs(1) || g.answered[2] == 0 {
				t.Errorf("in the end revision 1 runs: %t; answered were %v", g.runs(1), g.answered)
			}
		})
	}
}

// TestTagHostsNeedProgrammedGateway, like the main route.
func TestTagHostsNeedProgrammedGateway(t *testing.T) {
	c := newCanary(t)
	local := testkit.NewGateway("kserve-local-gateway", 1, "http")
	local.Status.Conditions = []metav1.Condition{testkit.Programmed(1, no)}
	c.Must(c.server.Create(t.Context(), local))
	observed, err := c.observe()
	c.Must(err)
	if route := observed.Route; route.Accepted || route.TagsAccepted || route.TagsRefused {
		t.Errorf("the route is %+v", route)
	}
	c.refuse("latest-sklearn-iris-predictor")
	observed, err = c.observe()
	c.Must(err)
	if observed.Route.TagsRefused {
		t.Error("a refusal counts while the gateway may serve the tag as it was")
	}
}

// TestRouteChangedOutcome: after any change of its spec, no gateway can have accepted the route
// yet.
func TestRouteChangedOutcome(t *testing.T) {
	clusterLocal := testkit.Label(v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal)
	for name, test := range map[string]struct {
		change func(c *cluster)
		want   bool
	}{
		"nothing":      {change: func(*cluster) {}},
		"its gateways": {change: func(c *cluster) { c.editSpec(clusterLocal) }, want: true},
		"its hosts":    {change: func(c *cluster) { c.backend.Config.Ingress.Domain = "example.org" }, want: true},
		"its timeout": {change: func(c *cluster) {
			c.backend.Config.Ingress.RequestTimeout = &metav1.Duration{Duration: time.Minute}
		}, want: true},
		"its weights": {change: func(c *cluster) { c.ask("b", 50) }, want: true},
		"a tag host":  {change: func(c *cluster) { c.Remove("prev-sklearn-iris-predictor", &gatewayv1.HTTPRoute{}) }, want: true},
		"its labels": {change: func(c *cluster) {
			testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) {
				delete(r.Labels, v1beta1.LabelComponent)
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCanary(t)
			test.change(c)
			observed, err := c.observe()
			c.Must(err)
			decision := c.decide(observed)
			written, err := c.carryOut(observed, decision)
			c.Must(err)
			if written.RouteChanged != test.want {
				t.Errorf("a route is changed: %t, after %v", written.RouteChanged, c.server.Writes)
			}
		})
	}
}

// TestUnusableHosts: a route keeps its other hosts, and is never without a host.
func TestUnusableHosts(t *testing.T) {
	const own, tag = "sklearn-iris.kserve-test.example.org", "latest-sklearn-iris-predictor.kserve-test.example.org"
	for name, test := range map[string]struct {
		unusable          []string
		wantHosts         []string
		wantTag, wantPrev string
	}{
		"none": {
			wantHosts: []string{own, "sklearn-iris-predictor.kserve-test.example.org", "sklearn-iris.kserve-test.svc.cluster.local"},
			wantTag:   tag, wantPrev: "prev-sklearn-iris-predictor.kserve-test.example.org",
		},
		"a new one": {
			unusable:  []string{own},
			wantHosts: []string{"sklearn-iris.kserve-test.example.com", "sklearn-iris-predictor.kserve-test.example.com", "sklearn-iris.kserve-test.svc.cluster.local"},
			wantTag:   tag, wantPrev: "prev-sklearn-iris-predictor.kserve-test.example.org",
		},
		"a new one, and a present one": {
			unusable:  []string{own, "sklearn-iris.kserve-test.example.com"},
			wantHosts: []string{"sklearn-iris-predictor.kserve-test.example.com", "sklearn-iris.kserve-test.svc.cluster.local"},
			wantTag:   tag, wantPrev: "prev-sklearn-iris-predictor.kserve-test.example.org",
		},
		"all": {
			unusable: []string{
				own, "sklearn-iris.kserve-test.example.com", "sklearn-iris-predictor.kserve-test.example.com", "sklearn-iris.kserve-test.svc.cluster.local",
			},
			wantHosts: []string{"sklearn-iris.kserve-test.svc.cluster.local"},
			wantTag:   tag, wantPrev: "prev-sklearn-iris-predictor.kserve-test.example.org",
		},
		"a new one of a tag": {
			unusable:  []string{tag},
			wantHosts: []string{own, "sklearn-iris-predictor.kserve-test.example.org", "sklearn-iris.kserve-test.svc.cluster.local"},
			wantTag:   "latest-sklearn-iris-predictor.kserve-test.example.com", wantPrev: "prev-sklearn-iris-predictor.kserve-test.example.org",
		},
		"both of a tag": {
			unusable:  []string{tag, "latest-sklearn-iris-predictor.kserve-test.example.com"},
			wantHosts: []string{own, "sklearn-iris-predictor.kserve-test.example.org", "sklearn-iris.kserve-test.svc.cluster.local"},
			wantPrev:  "prev-sklearn-iris-predictor.kserve-test.example.org",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCanary(t)
			c.backend.Config.Ingress.Domain = "example.org"
			observed, err := c.observe()
			c.Must(err)
			unusable := map[string]bool{}
			for _, host := range test.unusable {
				unusable[host] = true
			}
			c.Must(c.applyDecision(observed, c.decide(observed), func(change *backend.Change) { change.UnusableHosts = unusable }))
			for name, want := range map[string][]string{
				isvcName: test.wantHosts, "latest-sklearn-iris-predictor": {test.wantTag}, "prev-sklearn-iris-predictor": {test.wantPrev},
			} {
				var got []string
				route := &gatewayv1.HTTPRoute{}
				if c.Has(name, route) {
					got = observedHosts(route)
				}
				if want[0] == "" {
					want = nil
				}
				if diff := stateDiff(anyOf(map[string][]string{"hosts": want}), anyOf(map[string][]string{"hosts": got})); diff != "" {
					t.Errorf("hosts of %s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func observedHosts(route *gatewayv1.HTTPRoute) []string {
	var hosts []string
	for _, host := range route.Spec.Hostnames {
		hosts = append(hosts, string(host))
	}
	return hosts
}

// TestDefaultTimeoutIsAddedWithWeights, not with an upgrade of the operator or of the gateway.
func TestDefaultTimeoutIsAddedWithWeights(t *testing.T) {
	c := newCanary(t)
	for _, name := range []string{"kserve-ingress-gateway", "kserve-local-gateway"} {
		c.Must(c.server.Create(t.Context(), testkit.NewGateway(name, 1, "http")))
	}
	timeouts := func() map[string]*gatewayv1.HTTPRouteTimeouts {
		found := map[string]*gatewayv1.HTTPRouteTimeouts{}
		for _, object := range c.List(&gatewayv1.HTTPRouteList{}) {
			found[object.GetName()] = object.(*gatewayv1.HTTPRoute).Spec.Rules[0].Timeouts
		}
		return found
	}
	c.Must(c.server.Create(t.Context(), testkit.NewGatewayClass("HTTPRouteRequestTimeout")))
	if writes := c.settle(); len(writes) > 0 {
		t.Errorf("a settled one is written: %v", writes)
	}
	c.rollOut("b", 50)
	if got := timeouts()[isvcName]; got == nil || *got.Request != "300s" {
		t.Errorf("with other weights it is %v", got)
	}
	if got := timeouts()["prev-sklearn-iris-predictor"]; got != nil {
		t.Errorf("a tag host that leads where it led has %v", got)
	}
	class := &gatewayv1.GatewayClass{}
	c.Must(c.server.Get(t.Context(), client.ObjectKey{Name: "example"}, class))
	class.Status.SupportedFeatures = nil
	c.Must(c.server.Update(t.Context(), class))
	if writes := c.settle(); len(writes) > 0 {
		t.Errorf("a settled one is written: %v", writes)
	}
	c.rollOut("c", 10)
	if got := timeouts(); got[isvcName] != nil || got["latest-sklearn-iris-predictor"] != nil {
		t.Errorf("without the feature they are %v", got)
	}
	c.backend.Config.Ingress.RequestTimeout = &metav1.Duration{Duration: time.Minute}
	c.settle()
	for name, got := range timeouts() {
		if got == nil || *got.Request != "60s" {
			t.Errorf("the administrator's: %s has %v", name, got)
		}
	}
	c.backend.Config.Ingress.RequestTimeout = &metav1.Duration{}
	c.settle()
	for name, got := range timeouts() {
		if got != nil {
			t.Errorf("the administrator's 0: %s has %v", name, got)
		}
	}
}
