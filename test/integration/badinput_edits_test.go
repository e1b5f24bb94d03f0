// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit/watchrecorder"
)

// child refers to an object that the operator creates for a canary with tag routing and an
// autoscaler.
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

func controllerRevisionOf(n int) child {
	return child{revision(n), func(meta metav1.ObjectMeta) client.Object { return &appsv1.ControllerRevision{ObjectMeta: meta} }}
}

func knativeRevision(n int) child {
	return child{revision(n), func(meta metav1.ObjectMeta) client.Object { return &servingv1.Revision{ObjectMeta: meta} }}
}

func routeNamed(name string) child {
	return child{name, func(meta metav1.ObjectMeta) client.Object { return &gatewayv1.HTTPRoute{ObjectMeta: meta} }}
}

func (s *scenario) child(c child) client.Object {
	return c.of(metav1.ObjectMeta{Namespace: s.namespace, Name: c.name})
}

// edit changes a child with a JSON patch, as an external editor does.
func (s *scenario) edit(c child, patch string) {
	GinkgoHelper()
	object := s.child(c)
	s.recorder.Excuse(object)
	Expect(api.Patch(s.ctx, object, client.RawPatch(types.JSONPatchType, []byte(patch)), client.FieldOwner("external-editor"))).To(Succeed())
	s.recorder.ExcuseWrite(object)
}

// deleteExternally deletes a child, as an external editor does.
func (s *scenario) deleteExternally(c child) {
	GinkgoHelper()
	object := s.child(c)
	s.recorder.Excuse(object)
	Expect(api.Delete(s.ctx, object)).To(Succeed())
}

const (
	removeOwner         = `[{"op":"remove","path":"/metadata/ownerReferences"}]`
	removeLabels        = `[{"op":"remove","path":"/metadata/labels"}]`
	removeISVCLabel     = `[{"op":"remove","path":"/metadata/labels/serving.kserve.io~1inferenceservice"}]`
	changeManagedBy     = `[{"op":"replace","path":"/metadata/labels/app.kubernetes.io~1managed-by","value":"other"}]`
	changeComponent     = `[{"op":"replace","path":"/metadata/labels/component","value":"explainer"}]`
	changeRevisionLabel = `[{"op":"replace","path":"/metadata/labels/serving.kserve.io~1revision","value":"` + iris + `-predictor-00001"}]`
	addAnnotation       = `[{"op":"add","path":"/metadata/annotations/example.com~1note","value":"seen"}]`
	changeIdleSince     = `[{"op":"add","path":"/metadata/annotations/rollout.serinus.io~1idle-since","value":"2020-01-01T00:00:00Z"}]`
	changeInputsHash    = `[{"op":"add","path":"/metadata/annotations/rollout.serinus.io~1inputs","value":"0123456789abcdef"}]`
	scaleToZero         = `[{"op":"replace","path":"/spec/replicas","value":0}]`
	changeImage         = `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"example.com/other:1"}]`
	changeSelector      = `[{"op":"add","path":"/spec/selector/team","value":"other"}]`
	selectOtherRevision = `[{"op":"replace","path":"/spec/selector/serving.kserve.io~1revision","value":"` + iris + `-predictor-00001"}]`
	changeTargetPort    = `[{"op":"replace","path":"/spec/ports/0/targetPort","value":1}]`
	changeReplicaBounds = `[{"op":"replace","path":"/spec/maxReplicas","value":50},{"op":"replace","path":"/spec/minReplicas","value":40}]`
	changeHost          = `[{"op":"replace","path":"/spec/hostnames","value":["example.org"]}]`
	changeGateway       = `[{"op":"replace","path":"/spec/parentRefs/0/name","value":"elsewhere"}]`
	narrowPath          = `[{"op":"replace","path":"/spec/rules/0/matches/0/path/value","value":"/v1"}]`
	removeBackend       = `[{"op":"remove","path":"/spec/rules/0/backendRefs/0"}]`
	removeRules         = `[{"op":"remove","path":"/spec/rules"}]`
)

// setWeights returns a patch that sets the weights of the canary, which comes first, and of the
// stable.
func setWeights(canary, stable int) string {
	return fmt.Sprintf(`[{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":%d},{"op":"replace","path":"/spec/rules/0/backendRefs/1/weight","value":%d}]`, canary, stable)
}

func setRolloutState(text string) string {
	return fmt.Sprintf(`[{"op":"replace","path":"/metadata/annotations/rollout.serinus.io~1record","value":%q}]`, text)
}

const removeRolloutState = `[{"op":"remove","path":"/metadata/annotations/rollout.serinus.io~1record"}]`

// externalEdit describes how an external editor changes one child of a canary.
type externalEdit struct {
	child   child
	patches []string // Applied one after the other; then the child is deleted if deleted is set.
	deleted bool
	// If keepsPods is set, no pod may be replaced. If keepsSplit is set, no share may move.
	keepsPods, keepsSplit bool
}

var metadataPatches = []string{removeOwner, removeLabels, removeISVCLabel, changeManagedBy, changeComponent}

var externalEdits = map[string]externalEdit{
	"the Deployment of the stable": {
		child: deploymentOf(1), patches: slices.Concat(metadataPatches, []string{changeInputsHash, changeIdleSince}), keepsPods: true,
	},
	"the Deployment of the canary": {
		child: deploymentOf(2), patches: slices.Concat(metadataPatches, []string{changeRevisionLabel, changeInputsHash, changeIdleSince, addAnnotation}), keepsPods: true,
	},
	"the pods of the stable": {child: deploymentOf(1), patches: []string{scaleToZero, changeImage}, deleted: true},
	"the pods of the canary": {child: deploymentOf(2), patches: []string{scaleToZero, changeImage}, deleted: true},
	"the Service of the stable": {
		child: serviceOf(1), patches: slices.Concat(metadataPatches, []string{changeSelector, changeTargetPort}), deleted: true, keepsPods: true,
	},
	"the Service of the canary": {
		child: serviceOf(2), patches: slices.Concat(metadataPatches, []string{changeSelector, changeTargetPort, selectOtherRevision}), deleted: true, keepsPods: true,
	},
	"the HorizontalPodAutoscaler of the canary": {
		child: autoscalerOf(2), patches: slices.Concat(metadataPatches, []string{changeReplicaBounds}), deleted: true, keepsPods: true, keepsSplit: true,
	},
	"the ControllerRevision of the stable": {child: controllerRevisionOf(1), patches: slices.Concat(metadataPatches, []string{changeInputsHash}), deleted: true, keepsPods: true, keepsSplit: true},
	"the ControllerRevision of the canary": {child: controllerRevisionOf(2), patches: slices.Concat(metadataPatches, []string{changeInputsHash}), deleted: true, keepsPods: true, keepsSplit: true},
	"the route": {
		child: routeNamed(iris), deleted: true, keepsPods: true, keepsSplit: true,
		patches: slices.Concat(metadataPatches, []string{setWeights(50, 50), setWeights(100, 0), setWeights(0, 0), removeBackend, removeRules, changeHost, changeGateway, narrowPath}),
	},
	"the rollout state": {
		child: routeNamed(iris), keepsPods: true, keepsSplit: true,
		patches: []string{
			removeRolloutState, setRolloutState(""), setRolloutState("garbage"), setRolloutState("{}"), setRolloutState("[1,2]"),
			setRolloutState(`{"stable":0,"target":2,"split":{"1":90,"2":10},"highest":2}`),
			setRolloutState(`{"stable":1,"target":2,"percent":10,"split":{"1":90,"2":90},"highest":2}`),
			setRolloutState(`{"stable":1,"target":2,"percent":1000,"split":{"1":90,"2":10},"highest":2}`),
			setRolloutState(`{"stable":1,"target":2,"percent":10,"split":{"1":90,"2":10},"highest":1}`),
			setRolloutState(`{"stable":7,"target":2,"percent":10,"split":{"2":10,"7":90},"highest":9}`),
			setRolloutState(`{"stable":1,"target":7,"percent":10,"split":{"1":90,"7":10},"highest":9}`),
			setRolloutState(`{"stable":1,"target":2,"percent":10,"inputs":"INPUTS","split":{"1":50,"2":50},"highest":2}`),
			setRolloutState(`{"stable":1,"target":2,"percent":10,"inputs":"INPUTS","split":{"1":100},"highest":2}`),
			setRolloutState(`{"stable":1,"target":2,"percent":10,"inputs":"INPUTS","split":{},"highest":2}`),
		},
	},
	"the HTTPRoute of the tag latest": {
		child: routeNamed("latest-" + iris + "-predictor"), deleted: true, keepsPods: true, keepsSplit: true,
		patches: slices.Concat(metadataPatches, []string{changeHost, changeGateway, narrowPath, removeRules}),
	},
	"the HTTPRoute of the tag prev": {
		child: routeNamed("prev-" + iris + "-predictor"), deleted: true, keepsPods: true, keepsSplit: true,
		patches: slices.Concat(metadataPatches, []string{changeHost, removeBackend}),
	},
}

var _ = Describe("an external edit of a canary's objects", func() {
	It("is reverted, and moves no other traffic", func(ctx SpecContext) {
		var variants []variant
		for name, what := range externalEdits {
			variants = append(variants, variant{name: name, body: func(s *scenario) {
				s.setUpCanary(withTagRouting, replicaBounds(1, 3))
				before, err := s.snapshot()
				Expect(err).NotTo(HaveOccurred())
				written := len(s.recorder.Given(iris))
				stablePods, err := s.podUIDs(1)
				Expect(err).NotTo(HaveOccurred())
				canaryPods, err := s.podUIDs(2)
				Expect(err).NotTo(HaveOccurred())

				expectReverted := func(what string, writes int) {
					GinkgoHelper()
					s.awaitSnapshot(before, "after "+what)
					s.awaitSettled()
					s.awaitSnapshot(before, "some time after "+what)
					Expect(len(s.operator.wire.Writes())-writes).To(BeNumerically("<=", 12), "writes after %s", what)
				}
				route, err := s.route()
				Expect(err).NotTo(HaveOccurred())
				state, err := watchrecorder.StateOf(route)
				Expect(err).NotTo(HaveOccurred())
				for i, patch := range what.patches {
					if i%3 == 2 {
						s.restartOperator() // Manual edits are slow; a restart resets the count of repeated writes.
					}
					writes := len(s.operator.wire.Writes())
					s.edit(what.child, strings.ReplaceAll(patch, "INPUTS", state.Hash))
					if patch == addAnnotation {
						s.expectNoWrites() // The operator ignores foreign annotations.
						s.edit(what.child, `[{"op":"remove","path":"/metadata/annotations/example.com~1note"}]`)
					}
					expectReverted(patch, writes)
				}
				if what.deleted {
					s.restartOperator()
					writes := len(s.operator.wire.Writes())
					s.deleteExternally(what.child)
					expectReverted("the deletion", writes)
				}
				s.awaitColumns("True", "90", "10", revision(1), revision(2))
				if what.keepsPods {
					Expect(s.podUIDs(1)).To(Equal(stablePods))
					Expect(s.podUIDs(2)).To(Equal(canaryPods))
				}
				allowed := []string{"2:10 1:90"}
				if !what.keepsSplit {
					allowed = append(allowed, "2:0 1:100")
				}
				s.expectSplitsSince(written, allowed...)
			}})
		}
		runAll(ctx, variants)
	})
})

var _ = Describe("a controller that changes a Deployment after each of the operator's writes", func() {
	It("is named in a condition, and the operator writes less and less often", func(ctx SpecContext) {
		s := startStable(ctx)
		s.awaitSettled()
		s.recorder.Excuse(s.child(deploymentOf(1)))
		writes := 0
		stop := s.repeat(func(ctx context.Context) {
			deployment, err := s.deployment(1)
			if err != nil || deployment.Spec.Template.Spec.Containers[0].Image == "mirror.example.com/server:1" {
				return
			}
			writes++
			deployment.Spec.Template.Spec.Containers[0].Image = "mirror.example.com/server:1"
			metav1.SetMetaDataAnnotation(&deployment.ObjectMeta, "mirror.example.com/count", strconv.Itoa(writes))
			_ = api.Update(ctx, deployment, client.FieldOwner("mirror")) // The next call retries after a conflict.
		})
		s.awaitCondition(v1beta1.ConditionPredictorReady, HaveValue(SatisfyAll(
			HaveField("Reason", "ChangedByAnotherWriter"),
			HaveField("Message", ContainSubstring("is changed each time by another writer, probably the field manager \"mirror\"; the operator writes it again after growing pauses")))))
		before := s.writesOf("deployments")
		Consistently(func() int { return s.writesOf("deployments") - before }, 3*time.Second).Should(BeNumerically("<=", 3))

		By("deploying another model in the meantime")
		s.apply(model(2))
		s.awaitSplit("2:100")
		stop()
		Expect(writes).To(BeNumerically("<", 20))
	})
})

func (s *scenario) writesOf(resource string) int {
	count := 0
	for _, write := range s.operator.wire.Writes() {
		if write.Resource == resource {
			count++
		}
	}
	return count
}
