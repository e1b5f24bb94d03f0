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
	"github.com/serinus-io/serinus/test/e2e/prober"
	"github.com/serinus-io/serinus/test/e2e/report"
	"github.com/serinus-io/serinus/test/journal"
	"github.com/serinus-io/serinus/test/seed"
)

const (
	// iris is the InferenceService of the stories.
	iris = "iris"
	// rate is how many requests a second a story gets.
	rate = 200
	// enough is how many requests tell a share, within so many points.
	enough = 600
	points = 5
	// gatewayLag is how long the gateway may take to do what it says it does: Traefik reports that it has taken a route
	// over when it begins to, and the rest is its providersThrottleDuration and the time to put a configuration in place.
	gatewayLag = time.Second
)

// story is one namespace under traffic.
type story struct {
	ctx       context.Context
	namespace string
	mode      mode
	// name is that of the InferenceService that the story is about.
	name    string
	journal *journal.Journal
	prober  *prober.Prober
	targets []prober.Target
	// phases are what was wanted when.
	phases []phase
	// excuses are when there may be errors.
	excuses []excuse
	// kserve is what KServe does in this place.
	kserve string
	// picture is the name and the title of the story's timeline, if it has one.
	picture, title string
}

// phase is a time with one split.
type phase struct {
	name     string
	target   string
	want     split
	from, to time.Duration
	// enough is how many answers tell.
	enough int
}

// excuse is a time in which requests may fail.
type excuse struct {
	why      string
	from, to time.Duration
}

// split is the percent of each revision, by its number.
type split map[int]int

func (s split) String() string {
	var shares []string
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(s))) {
		shares = append(shares, fmt.Sprintf("%d:%d", n, s[n]))
	}
	return strings.Join(shares, " ")
}

// of names the revisions of an InferenceService.
func (s split) of(isvc string) map[string]int {
	named := map[string]int{}
	for n, percent := range s {
		named[revisionOf(isvc, n)] = percent
	}
	return named
}

func revisionOf(isvc string, n int) string { return fmt.Sprintf("%s-predictor-%05d", isvc, n) }

func revision(n int) string { return revisionOf(iris, n) }

// begin makes a namespace with an InferenceService that serves, and sends requests to it from then on.
func begin(ctx SpecContext, m mode, says ...manifest) *story {
	GinkgoHelper()
	s := stage(ctx, m, storyNamespace(), iris)
	s.create(iris, says...)
	s.settles(iris, split{1: 100})
	s.probe(s.target(iris, rate))
	s.serves(split{1: 100})
	return s
}

// storyNamespace is one of a story's own.
func storyNamespace() *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-"}}
}

// stage makes a namespace of the story's own and watches it.
func stage(ctx SpecContext, m mode, namespace *corev1.Namespace, isvc string) *story {
	GinkgoHelper()
	s := unwatched(ctx, m, namespace, isvc)
	s.watch()
	return s
}

// unwatched makes a namespace of the story's own.
func unwatched(ctx SpecContext, m mode, namespace *corev1.Namespace, isvc string) *story {
	GinkgoHelper()
	s := &story{ctx: ctx, mode: m, name: isvc}
	Eventually(func() error { // An earlier story may have had one of the same name, which takes a while to go.
		made := namespace.DeepCopy()
		err := api.Create(ctx, made)
		if apierrors.IsAlreadyExists(err) {
			return errors.Join(err, hasten(ctx, made.Name))
		}
		s.namespace = made.Name
		return err
	}).Should(Succeed())
	told := CurrentSpecReport()
	name := strings.Join(append(told.ContainerHierarchyTexts[1:], told.LeafNodeText), " ")
	DeferCleanup(func(ctx SpecContext) { s.end(ctx, name) })
	return s
}

// hasten ends the pods of a namespace that is being deleted, and has its controller look again: by itself, that comes
// back when half of the pods' grace period is over.
func hasten(ctx context.Context, name string) error {
	if err := api.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(name), client.GracePeriodSeconds(1)); err != nil {
		return err
	}
	changed := fmt.Appendf(nil, `{"metadata": {"annotations": {"hastened": %q}}}`, time.Now())
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	return client.IgnoreNotFound(api.Patch(ctx, namespace, client.RawPatch(types.MergePatchType, changed)))
}

// watch records what happens in the namespace from now on.
func (s *story) watch() {
	GinkgoHelper()
	recorded, err := journal.Start(context.WithoutCancel(s.ctx), api, s.namespace)
	Expect(err).NotTo(HaveOccurred())
	s.journal = recorded
}

// target is an InferenceService that gets requests, where its status says that it does.
func (s *story) target(isvc string, rate float64) prober.Target {
	GinkgoHelper()
	current, err := s.isvc(isvc)
	Expect(err).NotTo(HaveOccurred())
	at, err := url.Parse(current.Status.URL)
	Expect(err).NotTo(HaveOccurred())
	return targetAt(isvc, at.Host, rate)
}

// targetAt is a host of an InferenceService that gets requests.
func targetAt(isvc, host string, rate float64) prober.Target {
	return prober.Target{
		Name: isvc, Host: host, Path: "/v1/models/iris:predict", Rate: rate, Body: []byte(seed.Input), Check: predictions,
	}
}

// probe sends requests from now until the end. Before, it waits until the gateway does what it has said it does.
func (s *story) probe(targets ...prober.Target) {
	GinkgoHelper()
	for _, t := range targets {
		Eventually(s.answers).WithArguments(t).Should(Succeed())
	}
	s.send(targets...)
}

// send sends requests from now until the end.
func (s *story) send(targets ...prober.Target) {
	GinkgoHelper()
	s.targets = targets
	var err error
	s.prober, err = prober.Start(context.WithoutCancel(s.ctx), prober.Config{
		Gateway: gateway(), Targets: targets, MaxDuration: perStory,
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { s.prober.Stop() })
}

// create makes an InferenceService that did not exist.
func (s *story) create(name string, says ...manifest) {
	GinkgoHelper()
	Expect(api.Create(s.ctx, s.isvcOf(name, says))).To(Succeed())
}

func (s *story) isvcOf(name string, says []manifest) *v1beta1.InferenceService {
	isvc := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	annotation(v1beta1.AnnotationDeploymentMode, string(s.mode))(isvc)
	for _, say := range says {
		say(isvc)
	}
	return isvc
}

// apply makes the InferenceService what the manifest says, and nothing else. The name marks the moment.
func (s *story) apply(name string, says ...manifest) {
	GinkgoHelper()
	s.prober.Mark(name)
	s.replace(s.name, says...)
}

func (s *story) replace(isvc string, says ...manifest) {
	GinkgoHelper()
	wanted := s.isvcOf(isvc, says)
	Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		current := &v1beta1.InferenceService{}
		if err := api.Get(s.ctx, client.ObjectKeyFromObject(wanted), current); err != nil {
			return err
		}
		current.Labels, current.Annotations, current.Spec = wanted.Labels, wanted.Annotations, wanted.Spec
		return api.Update(s.ctx, current)
	})).To(Succeed())
}

func (s *story) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: s.namespace, Name: name}
}

func (s *story) isvc(name string) (*v1beta1.InferenceService, error) {
	isvc := &v1beta1.InferenceService{}
	return isvc, api.Get(s.ctx, s.key(name), isvc)
}

// settles waits until the status reports a split that the gateway has taken over, for the spec as it is.
func (s *story) settles(isvc string, want split) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		current, err := s.isvc(isvc)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(current.Status.ObservedGeneration).To(Equal(current.Generation), "the operator has not seen the spec as it is")
		g.Expect(reported(current)).To(Equal(want.String()))
		g.Expect(apimeta.IsStatusConditionTrue(current.Status.Conditions, v1beta1.ConditionRoutesReady)).To(BeTrue(),
			"the gateway has not taken the route over: %+v", current.Status.Conditions)
	}).WithTimeout(s.patience()).Should(Succeed())
}

// patience is how long the story waits for a split. Where ten change at once, Knative and its ingress on two processors
// have been seen to take more than a minute.
func (s *story) patience() time.Duration {
	if s.mode == inKnative {
		return 2 * patience
	}
	return patience
}

// reported is the split in the status.
func reported(isvc *v1beta1.InferenceService) string {
	shares := split{}
	for _, share := range isvc.Status.Components[v1beta1.PredictorComponent].Traffic {
		var n int
		if _, err := fmt.Sscanf(share.RevisionName, isvc.Name+"-predictor-%d", &n); err != nil || share.Percent == nil {
			return fmt.Sprintf("not a share: %+v", share)
		}
		shares[n] = int(*share.Percent)
	}
	return shares.String()
}

// serves waits until a split is served, and sends enough requests to tell that it is.
func (s *story) serves(want split) {
	GinkgoHelper()
	s.settles(s.name, want)
	s.goesOnServing(want)
}

// goesOnServing holds that a split is served from now on, for as long as it takes to tell.
func (s *story) goesOnServing(want split) {
	GinkgoHelper()
	s.holds(want, func() {
		GinkgoHelper()
		Expect(s.prober.Until(s.ctx, enough+int(gatewayLag.Seconds()*rate))).To(Succeed())
	})
}

// holds holds that a split is served for as long as something takes, which is for the verdict to tell: requests may be
// held up by what the story is yet to mend.
func (s *story) holds(want split, while func()) {
	GinkgoHelper()
	from := s.prober.Mark(want.String()).At + gatewayLag
	while()
	s.phases = append(s.phases, phase{name: want.String(), target: s.name, want: want, from: from, to: s.prober.Now(), enough: enough})
}

func (p phase) window(results prober.Results) prober.Window {
	return results.Of(p.target).Window(p.name, p.from, p.to)
}

// condition waits until a condition is as the matcher says.
func (s *story) condition(kind string, status metav1.ConditionStatus, reason string) {
	GinkgoHelper()
	s.conditionWithin(patience, kind, status, reason)
}

func (s *story) conditionWithin(timeout time.Duration, kind string, status metav1.ConditionStatus, reason string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		isvc, err := s.isvc(s.name)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(isvc.Status.ObservedGeneration).To(Equal(isvc.Generation))
		g.Expect(apimeta.FindStatusCondition(isvc.Status.Conditions, kind)).To(SatisfyAll(
			Not(BeNil()), HaveField("Status", status), HaveField("Reason", reason)))
	}).WithTimeout(timeout).Should(Succeed())
}

// mayFail allows requests to fail while something is done, and for the time that a gateway takes to hear of the end.
func (s *story) mayFail(why string, while func()) {
	GinkgoHelper()
	from := s.prober.Now()
	while()
	s.excuses = append(s.excuses, excuse{why: why, from: from, to: s.prober.Now() + gatewayLag})
}

// mayFailUnready allows requests to fail when any pod was said not to be ready, and for as long as a gateway takes to hear
// that it is again.
func (s *story) mayFailUnready(why string, since time.Duration) {
	GinkgoHelper()
	started := s.prober.Results().Started
	unready := map[string]bool{}
	for _, entry := range s.journal.Entries() {
		pod, is := entry.Object.(*corev1.Pod)
		at := entry.At.Sub(started)
		if !is || at < since {
			continue
		}
		switch ready := pods.IsReady(pod) || entry.Deleted; {
		case !ready && len(unready) == 0:
			s.excuses = append(s.excuses, excuse{why: why, from: at, to: at + gatewayLag})
			unready[pod.Name] = true
		case !ready:
			unready[pod.Name] = true
		case unready[pod.Name]:
			delete(unready, pod.Name)
			s.excuses[len(s.excuses)-1].to = at + gatewayLag
		}
	}
}

// pods lists the pods of a revision that are to stay.
func (s *story) pods(n int) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := api.List(s.ctx, &list, client.InNamespace(s.namespace), client.MatchingLabels{revisionLabel(s.mode): revisionOf(s.name, n)})
	return slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return !pod.DeletionTimestamp.IsZero() }), err
}

// uids lists the pods of a revision by what tells one from its replacement.
func (s *story) uids(n int) ([]types.UID, error) {
	found, err := s.pods(n)
	var uids []types.UID
	for i := range found {
		uids = append(uids, found[i].UID)
	}
	slices.Sort(uids)
	return uids, err
}

// end holds what happened against the rules, and reports it.
func (s *story) end(ctx context.Context, name string) {
	if s.journal != nil {
		defer s.journal.Stop()
	}
	if s.prober == nil {
		return // It did not get as far; the failure says why.
	}
	line, faults := s.verdict(name, s.prober.Stop())
	faults = append(faults, s.journal.Check())
	for _, fault := range faults {
		if fault != nil {
			AddReportEntry("what happened", s.journal.Trace(), ReportEntryVisibilityFailureOrVerbose)
			line.Fault = "see the log"
		}
	}
	if CurrentSpecReport().Failed() {
		line.Fault = "see the log"
	}
	line.Elsewhere = s.kserve
	stories = append(stories, placed{line, CurrentSpecReport()})
	s.draw()
	s.clear(ctx)
	for _, fault := range faults {
		Expect(fault).NotTo(HaveOccurred())
	}
	tell(progressLine(s.mode, line))
}

// clear removes all that the story has made. A namespace keeps the rest until its pods are gone, for minutes where those
// wait for requests. Left to that, the rest went while another story was told, and a gateway that was busy with it took
// more than half a second for a route.
func (s *story) clear(ctx context.Context) {
	GinkgoHelper()
	Expect(api.DeleteAllOf(ctx, &v1beta1.InferenceService{}, client.InNamespace(s.namespace))).To(Succeed())
	Expect(api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}})).To(Succeed())
}

func progressLine(m mode, line report.Story) string {
	return fmt.Sprintf("%-8s %-100s %7d requests", m, line.Name, line.Requests)
}

// bucket is a time in which enough requests are sent to compare shares.
func (s *story) bucket() time.Duration { return enough * time.Second / rate }
