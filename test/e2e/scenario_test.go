// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/pods"
	"github.com/serinus-io/serinus/internal/testkit/watchrecorder"
	"github.com/serinus-io/serinus/test/e2e/prober"
	"github.com/serinus-io/serinus/test/e2e/report"
	"github.com/serinus-io/serinus/test/seed"
)

const (
	iris = "iris"
	rate = 200 // Requests per second.
	// minRequests is the number of requests after which a share is checked, and tolerance the
	// allowed deviation in percentage points.
	minRequests = 600
	tolerance   = 5
	// gatewayLag is the time from the gateway's report that it accepted a route until it routes
	// accordingly. Traefik reports first; then it waits for its providersThrottleDuration and loads
	// the configuration.
	gatewayLag = time.Second
)

type scenario struct {
	ctx       context.Context
	namespace string
	mode      mode
	name      string
	recorder  *watchrecorder.Recorder
	prober    *prober.Prober
	targets   []prober.Target
	phases    []phase
	outages   []outage
	// kserveBehavior describes what KServe does in the same case.
	kserveBehavior string
	// picture is the file name of the timeline, and title its title. Without a picture there is no
	// timeline.
	picture, title string
}

type phase struct {
	name        string
	target      string
	want        split
	from, to    time.Duration
	minRequests int
}

// outage is a period in which requests may fail.
type outage struct {
	why      string
	from, to time.Duration
}

// split maps the number of a revision to its percent.
type split map[int]int

func (s split) String() string {
	var shares []string
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(s))) {
		shares = append(shares, fmt.Sprintf("%d:%d", n, s[n]))
	}
	return strings.Join(shares, " ")
}

func (s split) of(isvc string) map[string]int {
	named := map[string]int{}
	for n, percent := range s {
		named[revisionOf(isvc, n)] = percent
	}
	return named
}

func revisionOf(isvc string, n int) string { return fmt.Sprintf("%s-predictor-%05d", isvc, n) }

func revision(n int) string { return revisionOf(iris, n) }

// startScenario creates a namespace with an InferenceService, waits until it serves and starts to
// send requests to it.
func startScenario(ctx SpecContext, m mode, options ...option) *scenario {
	GinkgoHelper()
	s := newScenario(ctx, m, scenarioNamespace(), iris)
	s.create(iris, options...)
	s.awaitSplit(iris, split{1: 100})
	s.probe(s.target(iris, rate))
	s.expectSplit(split{1: 100})
	return s
}

func scenarioNamespace() *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "scenario-"}}
}

func newScenario(ctx SpecContext, m mode, namespace *corev1.Namespace, isvc string) *scenario {
	GinkgoHelper()
	s := newUnwatchedScenario(ctx, m, namespace, isvc)
	s.watch()
	return s
}

func newUnwatchedScenario(ctx SpecContext, m mode, namespace *corev1.Namespace, isvc string) *scenario {
	GinkgoHelper()
	s := &scenario{ctx: ctx, mode: m, name: isvc}
	Eventually(func() error { // A namespace of the same name may still be terminating.
		created := namespace.DeepCopy()
		err := api.Create(ctx, created)
		if apierrors.IsAlreadyExists(err) {
			return errors.Join(err, expediteDeletion(ctx, created.Name))
		}
		s.namespace = created.Name
		return err
	}).Should(Succeed())
	spec := CurrentSpecReport()
	name := strings.Join(append(spec.ContainerHierarchyTexts[1:], spec.LeafNodeText), " ")
	DeferCleanup(func(ctx SpecContext) { s.finish(ctx, name) })
	return s
}

// expediteDeletion kills the pods of a terminating namespace and updates the namespace, so that the
// namespace controller reconciles it now. By itself the controller waits for half of the pods'
// grace period.
func expediteDeletion(ctx context.Context, name string) error {
	if err := api.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(name), client.GracePeriodSeconds(1)); err != nil {
		return err
	}
	changed := fmt.Appendf(nil, `{"metadata": {"annotations": {"expedited": %q}}}`, time.Now())
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	return client.IgnoreNotFound(api.Patch(ctx, namespace, client.RawPatch(types.MergePatchType, changed)))
}

func (s *scenario) watch() {
	GinkgoHelper()
	recorded, err := watchrecorder.Start(context.WithoutCancel(s.ctx), api, s.namespace)
	Expect(err).NotTo(HaveOccurred())
	s.recorder = recorded
}

func (s *scenario) target(isvc string, rate float64) prober.Target {
	GinkgoHelper()
	current, err := s.isvc(isvc)
	Expect(err).NotTo(HaveOccurred())
	at, err := url.Parse(current.Status.URL)
	Expect(err).NotTo(HaveOccurred())
	return targetAt(isvc, at.Host, rate)
}

func targetAt(isvc, host string, rate float64) prober.Target {
	return prober.Target{
		Name: isvc, Host: host, Path: "/v1/models/iris:predict", Rate: rate, Body: []byte(seed.Input), Check: checkPredictions,
	}
}

// probe waits until the gateway routes to the targets, and then sends requests until the scenario
// ends.
func (s *scenario) probe(targets ...prober.Target) {
	GinkgoHelper()
	for _, t := range targets {
		Eventually(s.checkModelReady).WithArguments(t).Should(Succeed())
	}
	s.send(targets...)
}

func (s *scenario) send(targets ...prober.Target) {
	GinkgoHelper()
	s.targets = targets
	var err error
	s.prober, err = prober.Start(context.WithoutCancel(s.ctx), prober.Config{
		Gateway: gateway(), Targets: targets, MaxDuration: scenarioTimeout,
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { s.prober.Stop() })
}

func (s *scenario) create(name string, options ...option) {
	GinkgoHelper()
	Expect(api.Create(s.ctx, s.isvcOf(name, options))).To(Succeed())
}

func (s *scenario) isvcOf(name string, options []option) *v1beta1.InferenceService {
	isvc := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	annotation(v1beta1.AnnotationDeploymentMode, string(s.mode))(isvc)
	for _, set := range options {
		set(isvc)
	}
	return isvc
}

// apply replaces the spec and the metadata, and marks the time with a name.
func (s *scenario) apply(name string, options ...option) {
	GinkgoHelper()
	s.prober.Mark(name)
	s.replace(s.name, options...)
}

func (s *scenario) replace(isvc string, options ...option) {
	GinkgoHelper()
	desired := s.isvcOf(isvc, options)
	Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		current := &v1beta1.InferenceService{}
		if err := api.Get(s.ctx, client.ObjectKeyFromObject(desired), current); err != nil {
			return err
		}
		current.Labels, current.Annotations, current.Spec = desired.Labels, desired.Annotations, desired.Spec
		return api.Update(s.ctx, current)
	})).To(Succeed())
}

func (s *scenario) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: s.namespace, Name: name}
}

func (s *scenario) isvc(name string) (*v1beta1.InferenceService, error) {
	isvc := &v1beta1.InferenceService{}
	return isvc, api.Get(s.ctx, s.key(name), isvc)
}

// awaitSplit waits until the status reports, for the current spec, a split that the gateway has
// accepted.
func (s *scenario) awaitSplit(isvc string, want split) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		current, err := s.isvc(isvc)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(current.Status.ObservedGeneration).To(Equal(current.Generation), "the operator has not observed the current spec")
		g.Expect(reported(current)).To(Equal(want.String()))
		g.Expect(apimeta.IsStatusConditionTrue(current.Status.Conditions, v1beta1.ConditionRoutesReady)).To(BeTrue(),
			"the gateway has not accepted the route: %+v", current.Status.Conditions)
	}).WithTimeout(s.splitTimeout()).Should(Succeed())
}

// splitTimeout returns how long to wait for a split. On two cores, Knative and its ingress can take
// more than a minute when ten InferenceServices change at once.
func (s *scenario) splitTimeout() time.Duration {
	if s.mode == inKnative {
		return 2 * defaultTimeout
	}
	return defaultTimeout
}

func reported(isvc *v1beta1.InferenceService) string {
	shares := split{}
	for _, share := range isvc.Status.Components[v1beta1.PredictorComponent].Traffic {
		var n int
		if _, err := fmt.Sscanf(share.RevisionName, isvc.Name+"-predictor-%d", &n); err != nil || share.Percent == nil {
			return fmt.Sprintf("invalid traffic entry: %+v", share)
		}
		shares[n] = int(*share.Percent)
	}
	return shares.String()
}

func (s *scenario) expectSplit(want split) {
	GinkgoHelper()
	s.awaitSplit(s.name, want)
	s.checkSplit(want)
}

func (s *scenario) checkSplit(want split) {
	GinkgoHelper()
	s.checkSplitDuring(want, func() {
		GinkgoHelper()
		Expect(s.prober.Until(s.ctx, minRequests+int(gatewayLag.Seconds()*rate))).To(Succeed())
	})
}

// checkSplitDuring checks that a split is served while do runs. The check itself is done at the end
// of the scenario, because requests may hang until the scenario has repaired what it broke.
func (s *scenario) checkSplitDuring(want split, do func()) {
	GinkgoHelper()
	from := s.prober.Mark(want.String()).At + gatewayLag
	do()
	s.phases = append(s.phases, phase{name: want.String(), target: s.name, want: want, from: from, to: s.prober.Now(), minRequests: minRequests})
}

func (p phase) window(results prober.Results) prober.Window {
	return results.Of(p.target).Window(p.name, p.from, p.to)
}

func (s *scenario) awaitCondition(kind string, status metav1.ConditionStatus, reason string) {
	GinkgoHelper()
	s.awaitConditionWithin(defaultTimeout, kind, status, reason)
}

func (s *scenario) awaitConditionWithin(timeout time.Duration, kind string, status metav1.ConditionStatus, reason string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		isvc, err := s.isvc(s.name)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(isvc.Status.ObservedGeneration).To(Equal(isvc.Generation))
		g.Expect(apimeta.FindStatusCondition(isvc.Status.Conditions, kind)).To(SatisfyAll(
			Not(BeNil()), HaveField("Status", status), HaveField("Reason", reason)))
	}).WithTimeout(timeout).Should(Succeed())
}

// allowFailures allows requests to fail while do runs, and until the gateway has noticed the end.
func (s *scenario) allowFailures(why string, do func()) {
	GinkgoHelper()
	from := s.prober.Now()
	do()
	s.outages = append(s.outages, outage{why: why, from: from, to: s.prober.Now() + gatewayLag})
}

// allowFailuresWhileUnready allows requests to fail while any pod was reported as unready, and
// until the gateway has noticed that all are ready again.
func (s *scenario) allowFailuresWhileUnready(why string, since time.Duration) {
	GinkgoHelper()
	started := s.prober.Results().Started
	unready := map[string]bool{}
	for _, entry := range s.recorder.Entries() {
		pod, is := entry.Object.(*corev1.Pod)
		at := entry.At.Sub(started)
		if !is || at < since {
			continue
		}
		switch ready := pods.IsReady(pod) || entry.Deleted; {
		case !ready && len(unready) == 0:
			s.outages = append(s.outages, outage{why: why, from: at, to: at + gatewayLag})
			unready[pod.Name] = true
		case !ready:
			unready[pod.Name] = true
		case unready[pod.Name]:
			delete(unready, pod.Name)
			s.outages[len(s.outages)-1].to = at + gatewayLag
		}
	}
}

func (s *scenario) pods(n int) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := api.List(s.ctx, &list, client.InNamespace(s.namespace), client.MatchingLabels{revisionLabel(s.mode): revisionOf(s.name, n)})
	return slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return !pod.DeletionTimestamp.IsZero() }), err
}

// podUIDs lists the UIDs of a revision's pods. A replacement has another UID.
func (s *scenario) podUIDs(n int) ([]types.UID, error) {
	running, err := s.pods(n)
	var uids []types.UID
	for i := range running {
		uids = append(uids, running[i].UID)
	}
	slices.Sort(uids)
	return uids, err
}

func (s *scenario) finish(ctx context.Context, name string) {
	if s.recorder != nil {
		defer s.recorder.Stop()
	}
	if s.prober == nil {
		return // The scenario failed before it sent requests.
	}
	line, failures := s.evaluate(name, s.prober.Stop())
	failures = append(failures, s.recorder.Check())
	if CurrentSpecReport().Failed() || errors.Join(failures...) != nil {
		AddReportEntry("what happened", s.recorder.Trace(), ReportEntryVisibilityFailureOrVerbose)
		line.Fault = "see the log"
	}
	line.KServe = s.kserveBehavior
	finished = append(finished, finishedScenario{line, CurrentSpecReport()})
	s.drawTimeline()
	s.cleanUp(ctx)
	for _, failure := range failures {
		Expect(failure).NotTo(HaveOccurred())
	}
	printProgress(progressLine(s.mode, line))
}

// cleanUp deletes the InferenceServices before the namespace. A terminating namespace keeps other
// objects until its pods are gone, which can take minutes. Their deletion would then keep the
// gateway busy during the next scenario, where it took more than half a second to load a route.
func (s *scenario) cleanUp(ctx context.Context) {
	GinkgoHelper()
	Expect(api.DeleteAllOf(ctx, &v1beta1.InferenceService{}, client.InNamespace(s.namespace))).To(Succeed())
	Expect(api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}})).To(Succeed())
}

func progressLine(m mode, line report.Scenario) string {
	return fmt.Sprintf("%-8s %-100s %7d requests", m, line.Name, line.Requests)
}

func (s *scenario) bucketWidth() time.Duration { return minRequests * time.Second / rate }
