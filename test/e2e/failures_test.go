// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/status"
)

var _ = describeInModes("a canary", modes, func(m mode) {
	DescribeTable("gets no requests, with or without a percent (row 17), if",
		func(ctx SpecContext, reason string, options ...option) {
			s := startScenario(ctx, m, model(1))
			s.apply("a canary that fails", slices.Concat(options, []option{percent(50)})...)
			s.awaitCondition(v1beta1.ConditionLatestDeploymentReady, metav1.ConditionFalse, reason)
			s.expectSplit(split{1: 100})
			s.apply("its promotion", options...)
			s.expectSplit(split{1: 100})
			s.awaitCondition(v1beta1.ConditionReady, metav1.ConditionFalse, reason)

			s.apply("a canary that works", model(3), percent(50))
			s.expectSplit(split{1: 50, 3: 50})
			s.awaitCondition(v1beta1.ConditionReady, metav1.ConditionTrue, "Ready")
		},
		Entry("it crashes", inCI, SpecTimeout(scenarioTimeout), "ContainerCrashed", model(2, "--start-after=1h", "--crash-after=100ms")),
		Entry("it never becomes ready", SpecTimeout(scenarioTimeout), "ProgressDeadlineExceeded", model(2, "--never-ready")),
		Entry("its image cannot be pulled", SpecTimeout(scenarioTimeout), "ImagePullFailed", model(2), image("dev.local/not-there:1")),
		Entry("its model cannot be downloaded", SpecTimeout(scenarioTimeout), "ModelDownloadFailed", storageURI("gs://kfserving-examples/not/there")),
	)

	It("whose model cannot be downloaded reports the missing object", func(ctx SpecContext) {
		const uri = "gs://kfserving-examples/not/there"
		s := startScenario(ctx, m, model(1))
		s.apply("a canary whose model is missing", storageURI(uri), percent(50))
		Eventually(func(g Gomega) {
			isvc, err := s.isvc(s.name)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(isvc.Status.ModelStatus.LastFailureInfo).To(SatisfyAll(Not(BeNil()),
				HaveField("Message", HaveSuffix(": "+uri+": missing: there is no object of this name or below it; check storageUri"))))
		}).Should(Succeed())
		s.expectSplit(split{1: 100})
	}, SpecTimeout(scenarioTimeout))

	It("that loses all ready pods at 10 % gets no requests until one is ready again (row 18)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("canary of 10 %", model(2), percent(10))
		s.expectSplit(split{1: 90, 2: 10})

		s.prober.Mark("the canary is not ready")
		s.setPodsReady(2, false)
		s.expectSplit(split{1: 100, 2: 0})
		s.prober.Mark("the canary is ready again")
		s.setPodsReady(2, true)
		s.expectSplit(split{1: 90, 2: 10})

		s.prober.Mark("the canary's pod is deleted")
		s.replacePods(2)
		s.expectSplit(split{1: 90, 2: 10})
	}, inCI, rules(2), SpecTimeout(scenarioTimeout))

	It("gets no more than the requested percent while the stable is not ready (row 19)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("canary of 10 %", model(2), percent(10))
		s.expectSplit(split{1: 90, 2: 10})
		s.prober.Mark("the stable is not ready")
		s.allowFailures("while the stable is not ready", func() {
			s.setPodsReady(1, false)
			s.awaitCondition(v1beta1.ConditionReady, metav1.ConditionUnknown, status.ReasonLoading)
			Consistently(s.isvc).WithArguments(iris).WithTimeout(3 * time.Second).Should(WithTransform(reported, Equal("2:10 1:90")))
			s.setPodsReady(1, true)
			s.awaitCondition(v1beta1.ConditionReady, metav1.ConditionTrue, "Ready")
		})
		s.checkSplit(split{1: 90, 2: 10})
		Expect(s.recorder.Splits(iris)).To(Equal([]string{"1:100", "2:10 1:90"}))
	}, inCI, rules(2), SpecTimeout(scenarioTimeout))

	It("keeps its share while the stable has no ready replica to take it back (row 21)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("canary of 50 %", model(2), percent(50))
		s.expectSplit(split{1: 50, 2: 50})
		s.prober.Mark("the stable is not ready")
		s.allowFailures("while the stable is not ready", func() {
			s.setPodsReady(1, false)
			s.awaitCondition(v1beta1.ConditionReady, metav1.ConditionUnknown, status.ReasonLoading)
			s.apply("rollback", model(2), percent(0))
			s.awaitCondition(v1beta1.ConditionRoutesReady, metav1.ConditionUnknown, status.ReasonWaitingForReplicas)
			Consistently(s.isvc).WithArguments(iris).WithTimeout(3 * time.Second).Should(WithTransform(reported, Equal("2:50 1:50")))
			s.setPodsReady(1, true)
			s.awaitSplit(iris, split{1: 100, 2: 0})
		})
		s.checkSplit(split{1: 100, 2: 0})
		Expect(s.recorder.Splits(iris)).To(Equal([]string{"1:100", "2:50 1:50", "2:0 1:100"}))
	}, inCI, rules(2), SpecTimeout(scenarioTimeout))

	It("can be promoted after the stable is lost (row 21)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("canary of 50 %", model(2), percent(50))
		s.expectSplit(split{1: 50, 2: 50})
		s.prober.Mark("the stable and its history are deleted")
		s.allowFailures("while half of the requests go to the lost stable", func() {
			s.withoutOperator(func() {
				for _, object := range s.workload(1) {
					s.recorder.Excuse(object)
				}
				s.deleteRevision(1)
			})
			s.apply("rollback", model(2), percent(0))
			s.awaitCondition(v1beta1.ConditionRoutesReady, metav1.ConditionFalse, status.ReasonRevisionLost)
			s.apply("promotion", model(2))
			s.awaitSplit(iris, split{2: 100})
		})
		s.checkSplit(split{2: 100})
	}, SpecTimeout(scenarioTimeout))
})

// setPodsReady sets whether the pods of a revision report that they are ready. It waits for pods
// that are still starting: Knative adds pods when requests queue up.
func (s *scenario) setPodsReady(n int, ready bool) {
	GinkgoHelper()
	pods, err := s.pods(n)
	Expect(err).NotTo(HaveOccurred())
	Expect(pods).NotTo(BeEmpty())
	for i := range pods {
		Eventually(s.setPodReady).WithArguments(pods[i].Name, ready).Should(Succeed())
	}
}

func (s *scenario) setPodReady(name string, ready bool) error {
	pod := &corev1.Pod{}
	if err := api.Get(s.ctx, s.key(name), pod); err != nil {
		return client.IgnoreNotFound(err)
	}
	return setPodReady(s.ctx, pod, ready)
}

func setPodReady(ctx context.Context, pod *corev1.Pod, ready bool) error {
	url := fmt.Sprintf("http://%s:8080/test/ready", pod.Status.PodIP)
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(strconv.FormatBool(ready)))
	if err != nil {
		return err
	}
	response, err := (&http.Client{Timeout: time.Second}).Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = fmt.Errorf("pod %s responds with %s", pod.Name, response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

func (s *scenario) replacePods(n int) {
	GinkgoHelper()
	before, err := s.pods(n)
	Expect(err).NotTo(HaveOccurred())
	Expect(before).NotTo(BeEmpty())
	for i := range before {
		Expect(api.Delete(s.ctx, &before[i])).To(Succeed())
	}
	Eventually(func() (int, error) { return s.readyPodsExcept(n, before) }).Should(Equal(len(before)))
}

func (s *scenario) readyPods(n int) (int, error) { return s.readyPodsExcept(n, nil) }

func (s *scenario) readyPodsExcept(n int, before []corev1.Pod) (int, error) {
	pods, err := s.pods(n)
	return len(slices.DeleteFunc(pods, func(pod corev1.Pod) bool {
		old := slices.ContainsFunc(before, func(b corev1.Pod) bool { return b.UID == pod.UID })
		ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		return old || !ready
	})), err
}
