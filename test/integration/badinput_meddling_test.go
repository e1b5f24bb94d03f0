// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/test/journal"
)

// child names one object that the operator makes of a canary with tags and room to scale.
type child struct {
	name string
	of   func(meta metav1.ObjectMeta) client.Object
}

func deploymentOf(n int) child {
	return child{revision(n) + "-deployment", func(meta metav1.ObjectMeta) client.Object { return &appsv1.Deployment{ObjectMeta: meta} }}
}

func serviceOf(n int) child {
	return child{revision(n), func(meta metav1.ObjectMeta) client.Object { return &corev1.Service{ObjectMeta: meta} }}
}

func autoscalerOf(n int) child {
	return child{revision(n), func(meta metav1.ObjectMeta) client.Object {
		return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: meta}
	}}
}

func recordOf(n int) child {
	return child{revision(n), func(meta metav1.ObjectMeta) client.Object { return &appsv1.ControllerRevision{ObjectMeta: meta} }}
}

func knativeRevision(n int) child {
	return child{revision(n), func(meta metav1.ObjectMeta) client.Object { return &servingv1.Revision{ObjectMeta: meta} }}
}

func routeNamed(name string) child {
	return child{name, func(meta metav1.ObjectMeta) client.Object { return &gatewayv1.HTTPRoute{ObjectMeta: meta} }}
}

func (s *story) child(c child) client.Object {
	return c.of(metav1.ObjectMeta{Namespace: s.namespace, Name: c.name})
}

// meddle has somebody else change a child, by a JSON patch.
func (s *story) meddle(c child, patch string) {
	GinkgoHelper()
	object := s.child(c)
	s.journal.Excuse(object)
	Expect(api.Patch(s.ctx, object, client.RawPatch(types.JSONPatchType, []byte(patch)), client.FieldOwner("somebody"))).To(Succeed())
	s.journal.ExcuseWrite(object)
}

// destroy has somebody else delete a child.
func (s *story) destroy(c child) {
	GinkgoHelper()
	object := s.child(c)
	s.journal.Excuse(object)
	Expect(api.Delete(s.ctx, object)).To(Succeed())
}

// JSON patches that any child can meet.
const (
	stripOwner      = `[{"op":"remove","path":"/metadata/ownerReferences"}]`
	stripLabels     = `[{"op":"remove","path":"/metadata/labels"}]`
	stripOurLabel   = `[{"op":"remove","path":"/metadata/labels/serving.kserve.io~1inferenceservice"}]`
	spoilOurLabel   = `[{"op":"replace","path":"/metadata/labels/app.kubernetes.io~1managed-by","value":"somebody"}]`
	spoilComponent  = `[{"op":"replace","path":"/metadata/labels/component","value":"explainer"}]`
	spoilRevision   = `[{"op":"replace","path":"/metadata/labels/serving.kserve.io~1revision","value":"` + iris + `-predictor-00001"}]`
	addNote         = `[{"op":"add","path":"/metadata/annotations/example.com~1note","value":"seen"}]`
	spoilIdleSince  = `[{"op":"add","path":"/metadata/annotations/rollout.serinus.io~1idle-since","value":"2020-01-01T00:00:00Z"}]`
	spoilIdentity   = `[{"op":"add","path":"/metadata/annotations/rollout.serinus.io~1inputs","value":"0123456789abcdef"}]`
	scaleToNothing  = `[{"op":"replace","path":"/spec/replicas","value":0}]`
	otherImage      = `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"example.com/other:1"}]`
	otherSelector   = `[{"op":"add","path":"/spec/selector/team","value":"nobody"}]`
	otherRevision   = `[{"op":"replace","path":"/spec/selector/serving.kserve.io~1revision","value":"` + iris + `-predictor-00001"}]`
	otherTargetPort = `[{"op":"replace","path":"/spec/ports/0/targetPort","value":1}]`
	otherBounds     = `[{"op":"replace","path":"/spec/maxReplicas","value":50},{"op":"replace","path":"/spec/minReplicas","value":40}]`
	otherHost       = `[{"op":"replace","path":"/spec/hostnames","value":["example.org"]}]`
	otherGateway    = `[{"op":"replace","path":"/spec/parentRefs/0/name","value":"elsewhere"}]`
	narrowed        = `[{"op":"replace","path":"/spec/rules/0/matches/0/path/value","value":"/v1"}]`
	oneBackend      = `[{"op":"remove","path":"/spec/rules/0/backendRefs/0"}]`
	noRules         = `[{"op":"remove","path":"/spec/rules"}]`
)

// weights is a patch of the weights of the canary, which comes first, and of the stable.
func weights(canary, stable int) string {
	return fmt.Sprintf(`[{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":%d},{"op":"replace","path":"/spec/rules/0/backendRefs/1/weight","value":%d}]`, canary, stable)
}

// record is a patch of the rollout record.
func record(text string) string {
	return fmt.Sprintf(`[{"op":"replace","path":"/metadata/annotations/rollout.serinus.io~1record","value":%q}]`, text)
}

const noRecord = `[{"op":"remove","path":"/metadata/annotations/rollout.serinus.io~1record"}]`

// interference is what somebody does to a child of a canary.
type interference struct {
	child   child
	patches []string // And then a deletion, where deleted says so.
	deleted bool
	// harmless says that no pod may be replaced, and still that no share may move either.
	harmless, still bool
}

var anybody = []string{stripOwner, stripLabels, stripOurLabel, spoilOurLabel, spoilComponent}

var interferences = map[string]interference{
	"the Deployment of the stable": {
		child: deploymentOf(1), patches: slices.Concat(anybody, []string{spoilIdentity, spoilIdleSince}), harmless: true,
	},
	"the Deployment of the canary": {
		child: deploymentOf(2), patches: slices.Concat(anybody, []string{spoilRevision, spoilIdentity, spoilIdleSince, addNote}), harmless: true,
	},
	"the pods of the stable": {child: deploymentOf(1), patches: []string{scaleToNothing, otherImage}, deleted: true},
	"the pods of the canary": {child: deploymentOf(2), patches: []string{scaleToNothing, otherImage}, deleted: true},
	"the Service of the stable": {
		child: serviceOf(1), patches: slices.Concat(anybody, []string{otherSelector, otherTargetPort}), deleted: true, harmless: true,
	},
	"the Service of the canary": {
		child: serviceOf(2), patches: slices.Concat(anybody, []string{otherSelector, otherTargetPort, otherRevision}), deleted: true, harmless: true,
	},
	"the autoscaler of the canary": {
		child: autoscalerOf(2), patches: slices.Concat(anybody, []string{otherBounds}), deleted: true, harmless: true, still: true,
	},
	"the record of the stable": {child: recordOf(1), patches: slices.Concat(anybody, []string{spoilIdentity}), deleted: true, harmless: true, still: true},
	"the record of the canary": {child: recordOf(2), patches: slices.Concat(anybody, []string{spoilIdentity}), deleted: true, harmless: true, still: true},
	"the route": {
		child: routeNamed(iris), deleted: true, harmless: true, still: true,
		patches: slices.Concat(anybody, []string{weights(50, 50), weights(100, 0), weights(0, 0), oneBackend, noRules, otherHost, otherGateway, narrowed}),
	},
	"the rollout record": {
		child: routeNamed(iris), harmless: true, still: true,
		patches: []string{
			noRecord, record(""), record("garbage"), record("{}"), record("[1,2]"),
			record(`{"stable":0,"target":2,"split":{"1":90,"2":10},"highest":2}`),
			record(`{"stable":1,"target":2,"percent":10,"split":{"1":90,"2":90},"highest":2}`),
			record(`{"stable":1,"target":2,"percent":1000,"split":{"1":90,"2":10},"highest":2}`),
			record(`{"stable":1,"target":2,"percent":10,"split":{"1":90,"2":10},"highest":1}`),
			record(`{"stable":7,"target":2,"percent":10,"split":{"2":10,"7":90},"highest":9}`),
			record(`{"stable":1,"target":7,"percent":10,"split":{"1":90,"7":10},"highest":9}`),
			record(`{"stable":1,"target":2,"percent":10,"inputs":"INPUTS","split":{"1":50,"2":50},"highest":2}`),
			record(`{"stable":1,"target":2,"percent":10,"inputs":"INPUTS","split":{"1":100},"highest":2}`),
			record(`{"stable":1,"target":2,"percent":10,"inputs":"INPUTS","split":{},"highest":2}`),
		},
	},
	"the host of the latest revision": {
		child: routeNamed("latest-" + iris + "-predictor"), deleted: true, harmless: true, still: true,
		patches: slices.Concat(anybody, []string{otherHost, otherGateway, narrowed, noRules}),
	},
	"the host of the previous revision": {
		child: routeNamed("prev-" + iris + "-predictor"), deleted: true, harmless: true, still: true,
		patches: slices.Concat(anybody, []string{otherHost, oneBackend}),
	},
}

var _ = Describe("somebody who meddles with a canary", func() {
	It("is undone, and no traffic moves beyond what was meddled with", func(ctx SpecContext) {
		var trials []trial
		for name, what := range interferences {
			trials = append(trials, trial{name: name, tell: func(s *story) {
				s.canaries(tagged, replicas(1, 3))
				before, err := s.world()
				Expect(err).NotTo(HaveOccurred())
				given := len(s.journal.Given(iris))
				stablePods, err := s.pods(1)
				Expect(err).NotTo(HaveOccurred())
				canaryPods, err := s.pods(2)
				Expect(err).NotTo(HaveOccurred())

				undone := func(what string, writes int) {
					GinkgoHelper()
					s.becomesWorld(before, "after "+what)
					s.settles()
					s.becomesWorld(before, "a while after "+what)
					Expect(len(s.operator.wire.Writes())-writes).To(BeNumerically("<=", 12), "writes after %s", what)
				}
				route, err := s.route()
				Expect(err).NotTo(HaveOccurred())
				written, err := journal.RecordOf(route)
				Expect(err).NotTo(HaveOccurred())
				for i, patch := range what.patches {
					if i%3 == 2 {
						s.restart() // These are edits by hand: the count of repeated writes begins anew.
					}
					writes := len(s.operator.wire.Writes())
					s.meddle(what.child, strings.ReplaceAll(patch, "INPUTS", written.Inputs))
					if patch == addNote {
						s.silent() // It is nobody's business.
						s.meddle(what.child, `[{"op":"remove","path":"/metadata/annotations/example.com~1note"}]`)
					}
					undone(patch, writes)
				}
				if what.deleted {
					s.restart()
					writes := len(s.operator.wire.Writes())
					s.destroy(what.child)
					undone("its deletion", writes)
				}
				s.prints("True", "90", "10", revision(1), revision(2))
				if what.harmless {
					Expect(s.pods(1)).To(Equal(stablePods))
					Expect(s.pods(2)).To(Equal(canaryPods))
				}
				allowed := []string{"2:10 1:90"}
				if !what.still {
					allowed = append(allowed, "2:0 1:100")
				}
				s.gives(given, allowed...)
			}})
		}
		together(ctx, trials)
	})
})
