// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/knative"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/testkit"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
	"github.com/serinus-io/serinus/internal/testkit/watchrecorder"
	"github.com/serinus-io/serinus/test/integration/wire"
)

const iris = "sklearn-iris"

// scenario is a namespace with its own operator and fake controllers.
type scenario struct {
	ctx       context.Context
	namespace string
	config    *config.Config
	workloads *fakecluster.Workloads
	gateway   *fakecluster.Gateway
	knative   *fakecluster.Knative
	recorder  *watchrecorder.Recorder
	operator  *operator
	// deferCleanup registers a function to call at the end, in reverse order.
	deferCleanup func(do func(SpecContext))
}

type configOption func(*config.Config)

func inStandardMode(cfg *config.Config) { cfg.DeploymentMode = config.Standard }
func inKnativeMode(cfg *config.Config)  { cfg.DeploymentMode = config.Knative }

func inBothModes(text string, body func(mode configOption)) bool {
	Describe(text+", in Standard mode", func() { body(inStandardMode) })
	Describe(text+", in Knative mode", func() { body(inKnativeMode) })
	return true
}

func (s *scenario) isKnative() bool { return s.config.DeploymentMode == config.Knative }

func startScenario(ctx SpecContext, options ...configOption) *scenario {
	GinkgoHelper()
	s := newScenario(ctx, newNamespace(ctx), afterSpec, options...)
	s.startOperator(wire.New())
	return s
}

func newNamespace(ctx context.Context) string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "scenario-"}}
	Expect(api.Create(ctx, namespace)).To(Succeed())
	return namespace.Name
}

func afterSpec(do func(SpecContext)) { DeferCleanup(do) }

// newScenario starts the recorder and the fake controllers of a namespace. The periods in the
// operator's configuration are short.
func newScenario(ctx context.Context, namespace string, deferCleanup func(func(SpecContext)), options ...configOption) *scenario {
	GinkgoHelper()
	s := &scenario{ctx: ctx, namespace: namespace, config: config.Default(), deferCleanup: deferCleanup}
	s.config.Rollout.DrainPeriod.Duration = 100 * time.Millisecond
	s.config.Rollout.SettlePeriod.Duration = 500 * time.Millisecond
	s.config.Rollout.CapacityHold.Duration = 500 * time.Millisecond
	s.config.Controller.Concurrency = 2
	for _, option := range options {
		option(s.config)
	}
	var err error
	s.recorder, err = watchrecorder.Start(context.Background(), api, s.namespace)
	Expect(err).NotTo(HaveOccurred())
	s.deferCleanup(s.finish)
	s.startFakeControllers()
	return s
}

func (s *scenario) startFakeControllers() {
	GinkgoHelper()
	cluster, err := fakecluster.NewManaged(administrator, fakecluster.Options{Knative: s.isKnative()}, s.namespace)
	Expect(err).NotTo(HaveOccurred())
	s.workloads, s.gateway, s.knative = cluster.Workloads, cluster.Gateway, cluster.Knative
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cluster.Run(ctx) }()
	s.deferCleanup(func(SpecContext) {
		cancel()
		Eventually(done).Should(Receive(BeNil()), "the fake controllers do not stop")
	})
}

func (s *scenario) startOperator(w *wire.Wire) {
	GinkgoHelper()
	o, err := startOperator(s.config, s.namespace, w)
	Expect(err).NotTo(HaveOccurred())
	s.operator = o
	s.deferCleanup(func(ctx SpecContext) { Expect(o.stop(ctx)).To(Succeed()) })
}

func (s *scenario) restartOperator() {
	GinkgoHelper()
	s.stopOperator()
	s.startOperator(wire.New())
}

func (s *scenario) stopOperator() {
	GinkgoHelper()
	Expect(s.operator.stop(s.ctx)).To(Succeed())
}

func (s *scenario) finish(ctx SpecContext) {
	defer s.recorder.Stop()
	Expect(api.DeleteAllOf(ctx, &v1beta1.InferenceService{}, client.InNamespace(s.namespace))).To(Succeed())
	Expect(s.recorder.CatchUp(ctx)).To(Succeed())
	breaches := s.recorder.Check()
	if breaches != nil || CurrentSpecReport().Failed() {
		AddReportEntry("recorded changes", s.recorder.Trace(), ReportEntryVisibilityFailureOrVerbose)
	}
	if breaches != nil {
		Fail("violated rules:\n" + breaches.Error())
	}
}

// Short names for the edits of the test kit.
var (
	percent       = testkit.Percent
	replicaBounds = testkit.ReplicaBounds
	annotation    = testkit.Annotation
	label         = testkit.Label
)

func model(version int) testkit.Edit {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.Model = &v1beta1.ModelSpec{
			ModelFormat: v1beta1.ModelFormat{Name: "sklearn"},
			PredictorExtensionSpec: v1beta1.PredictorExtensionSpec{
				StorageURI: new(fmt.Sprintf("gs://kfserving-examples/models/sklearn/1.0/model-%d", version)),
			},
		}
	}
}

// apply creates or replaces the InferenceService. Other options than the given ones are removed.
func (s *scenario) apply(options ...testkit.Edit) {
	GinkgoHelper()
	Expect(s.tryApply(options...)).To(Succeed())
}

func (s *scenario) tryApply(options ...testkit.Edit) error {
	want := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: iris}}
	for _, option := range options {
		option(want)
	}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		current := &v1beta1.InferenceService{}
		err := api.Get(s.ctx, client.ObjectKeyFromObject(want), current)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		if err != nil {
			return api.Create(s.ctx, want.DeepCopy())
		}
		current.Labels, current.Annotations, current.Spec = want.Labels, want.Annotations, want.Spec
		return api.Update(s.ctx, current)
	})
}

func revision(n int) string { return fmt.Sprintf("%s-predictor-%05d", iris, n) }

func (s *scenario) setPods(n int, behavior fakecluster.PodBehavior) {
	s.workloads.SetBehavior(types.NamespacedName{Namespace: s.namespace, Name: revision(n) + "-deployment"}, behavior)
}

func (s *scenario) setGateway(behavior fakecluster.RouteBehavior) {
	s.gateway.SetBehavior(types.NamespacedName{Namespace: s.namespace}, behavior)
}

func (s *scenario) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: name}
}

func (s *scenario) isvc() (*v1beta1.InferenceService, error) {
	isvc := &v1beta1.InferenceService{}
	return isvc, api.Get(s.ctx, s.key(iris), isvc)
}

func (s *scenario) route() (*gatewayv1.HTTPRoute, error) {
	route := &gatewayv1.HTTPRoute{}
	return route, api.Get(s.ctx, s.key(iris), route)
}

func (s *scenario) knativeService() (*servingv1.Service, error) {
	service := &servingv1.Service{}
	return service, api.Get(s.ctx, s.key(iris+"-predictor"), service)
}

// router returns the object that splits the traffic.
func (s *scenario) router() (client.Object, error) {
	if s.isKnative() {
		return s.knativeService()
	}
	return s.route()
}

func (s *scenario) columns() (columns, error) { return columnsOf(s.ctx, s.key(iris)) }

// awaitColumns waits for these values of the columns READY, PREV, LATEST, PREVROLLEDOUTREVISION and
// LATESTREADYREVISION, for the current spec.
func (s *scenario) awaitColumns(ready, prev, latest, prevRevision, latestRevision string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		isvc, err := s.isvc()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(isvc.Status.ObservedGeneration).To(Equal(isvc.Generation), "the operator has not observed the current spec")
		g.Expect(s.columns()).To(HaveColumns(ready, prev, latest, prevRevision, latestRevision))
	}).Should(Succeed())
}

// awaitSplit waits until the route has this split and the right hosts.
func (s *scenario) awaitSplit(split string) {
	GinkgoHelper()
	want := HaveSplit(split)
	if !s.isKnative() {
		want = SatisfyAll(want, HaveHosts(s.hosts()...))
	}
	Eventually(s.router).Should(want)
}

func (s *scenario) hosts() []string {
	return []string{
		fmt.Sprintf("%s.%s.example.com", iris, s.namespace),
		fmt.Sprintf("%s-predictor.%s.example.com", iris, s.namespace),
	}
}

// awaitRolloutState waits until the rollout state has this stable and previous revision, such as
// "S=2 V=1".
func (s *scenario) awaitRolloutState(state string) {
	GinkgoHelper()
	Eventually(s.router).Should(HaveRolloutState(state))
}

// awaitSplitHistory waits until the route has had exactly these splits, in order.
func (s *scenario) awaitSplitHistory(splits ...string) {
	GinkgoHelper()
	Eventually(func() []string { return s.recorder.Splits(iris) }).Should(Equal(splits))
}

func (s *scenario) awaitCondition(conditionType string, matcher gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	s.awaitConditionWithin(eventuallyTimeout, conditionType, matcher)
}

func (s *scenario) awaitConditionWithin(timeout time.Duration, conditionType string, matcher gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(s.conditionOf).WithArguments(conditionType).WithTimeout(timeout).Should(matcher)
}

// conditionOf fails while the status is not up to date.
func (s *scenario) conditionOf(conditionType string) (*metav1.Condition, error) {
	isvc, err := s.isvc()
	if err == nil && isvc.Status.ObservedGeneration != isvc.Generation {
		err = errors.New("the operator has not observed the current spec")
	}
	return apimeta.FindStatusCondition(isvc.Status.Conditions, conditionType), err
}

// awaitRunning waits until exactly these revisions have a Deployment. In Knative mode Deployments
// without replicas do not count.
func (s *scenario) awaitRunning(numbers ...int) {
	GinkgoHelper()
	s.awaitRunningBeside(nil, numbers...)
}

func (s *scenario) awaitRunningBeside(others []string, numbers ...int) {
	GinkgoHelper()
	want := []string{}
	for _, n := range numbers {
		want = append(want, revision(n)+"-deployment")
	}
	for _, other := range others {
		want = append(want, other+"-predictor-00001-deployment")
	}
	Eventually(func() ([]string, error) {
		var list appsv1.DeploymentList
		err := api.List(s.ctx, &list, client.InNamespace(s.namespace))
		list.Items = slices.DeleteFunc(list.Items, func(deployment appsv1.Deployment) bool {
			return s.isKnative() && *deployment.Spec.Replicas == 0
		})
		return names(&list), err
	}).Should(ConsistOf(want))
}

func (s *scenario) revisionHistory() ([]string, error) {
	var list appsv1.ControllerRevisionList
	err := api.List(s.ctx, &list, client.InNamespace(s.namespace))
	return names(&list), err
}

func (s *scenario) podUIDs(n int) ([]types.UID, error) {
	var list corev1.PodList
	label := v1beta1.LabelRevision
	if s.isKnative() {
		label = knative.RevisionLabel
	}
	err := api.List(s.ctx, &list, client.InNamespace(s.namespace), client.MatchingLabels{label: revision(n)})
	var uids []types.UID
	for i := range list.Items {
		uids = append(uids, list.Items[i].UID)
	}
	slices.Sort(uids)
	return uids, err
}

// awaitSettled waits until the operator has reconciled and has not written for a while.
func (s *scenario) awaitSettled() {
	GinkgoHelper()
	Eventually(s.operator.reconciliations).Should(BeNumerically(">", 0), "the operator does not reconcile")
	Eventually(s.operator.wire.Idle).Should(BeNumerically(">", 300*time.Millisecond), "the operator keeps writing")
}

func names(list client.ObjectList) []string {
	found := []string{}
	for _, item := range itemsOf(list) {
		found = append(found, item.GetName())
	}
	return found
}

func itemsOf(list client.ObjectList) []client.Object {
	items, err := apimeta.ExtractList(list)
	Expect(err).NotTo(HaveOccurred())
	var found []client.Object
	for _, item := range items {
		object, ok := item.(client.Object)
		Expect(ok).To(BeTrue(), "%T is a client.Object", item)
		found = append(found, object)
	}
	return found
}

func (s *scenario) tagHost(tag string) string {
	return fmt.Sprintf("%s-%s-predictor.%s.example.com", tag, iris, s.namespace)
}

// awaitTags waits until exactly these tags have hosts, with these splits.
func (s *scenario) awaitTags(want map[string]string) {
	GinkgoHelper()
	if s.isKnative() {
		Eventually(s.knativeService).Should(HaveTags(want))
		return
	}
	for _, tag := range []string{v1beta1.TagLatest, v1beta1.TagPrevious} {
		read := func() (*gatewayv1.HTTPRoute, error) {
			route := &gatewayv1.HTTPRoute{}
			return route, api.Get(s.ctx, s.key(tag+"-"+iris+"-predictor"), route)
		}
		if split, ok := want[tag]; ok {
			Eventually(read).Should(SatisfyAll(HaveSplit(split), HaveHosts(s.tagHost(tag))))
			continue
		}
		Eventually(func() error {
			_, err := read()
			return err
		}).Should(Satisfy(apierrors.IsNotFound), "the HTTPRoute of tag %s still exists", tag)
	}
}

// events returns the events of the InferenceService as "Reason: note". An event of a series is
// repeated as often as it occurred.
func (s *scenario) events() ([]string, error) {
	var list eventsv1.EventList
	if err := api.List(s.ctx, &list, client.InNamespace(s.namespace)); err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
	var events []string
	for _, event := range list.Items {
		times := int32(1)
		if event.Series != nil {
			times = event.Series.Count
		}
		for range times {
			events = append(events, event.Reason+": "+event.Note)
		}
	}
	return events, nil
}

// awaitEvent waits for exactly one event with this reason.
func (s *scenario) awaitEvent(reason string) {
	GinkgoHelper()
	Eventually(func() (int, error) {
		events, err := s.events()
		return len(slices.DeleteFunc(events, func(event string) bool { return !strings.HasPrefix(event, reason+": ") })), err
	}).Should(Equal(1), "events of reason %s", reason)
}
