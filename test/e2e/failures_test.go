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

var _ = told("a canary", modes, func(m mode) {
	DescribeTable("gets no request, with a percent and without (row 17), if",
		func(ctx SpecContext, reason string, broken ...manifest) {
			s := begin(ctx, m, model(1))
			s.apply("a canary that fails", slices.Concat(broken, []manifest{percent(50)})...)
			s.condition(v1beta1.ConditionLatestDeploymentReady, metav1.ConditionFalse, reason)
			s.serves(split{1: 100})
			s.apply("its promotion", broken...)
			s.serves(split{1: 100})
			s.condition(v1beta1.ConditionReady, metav1.ConditionFalse, reason)

			s.apply("a canary that works", model(3), percent(50))
			s.serves(split{1: 50, 3: 50})
			s.condition(v1beta1.ConditionReady, metav1.ConditionTrue, "Ready")
		},
		Entry("it crashes", inCI, SpecTimeout(perStory), "ContainerCrashed", model(2, "--start-after=1h", "--crash-after=100ms")),
		Entry("it never becomes ready", SpecTimeout(perStory), "ProgressDeadlineExceeded", model(2, "--never-ready")),
		Entry("its image cannot be pulled", SpecTimeout(perStory), "ImagePullFailed", model(2), runs("dev.local/not-there:1")),
		Entry("its model cannot be downloaded", SpecTimeout(perStory), "ModelDownloadFailed", downloaded("gs://kfserving-examples/not/there")),
	)

	It("that cannot be downloaded says which object is missing", func(ctx SpecContext) {
		const uri = "gs://kfserving-examples/not/there"
		s := begin(ctx, m, model(1))
		s.apply("a canary that is not there", downloaded(uri), percent(50))
		Eventually(func(g Gomega) {
			isvc, err := s.isvc(s.name)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(isvc.Status.ModelStatus.LastFailureInfo).To(SatisfyAll(Not(BeNil()),
				HaveField("Message", HaveSuffix(": "+uri+": missing: there is no object of this name or below it; check storageUri"))))
		}).Should(Succeed())
		s.serves(split{1: 100})
	}, SpecTimeout(perStory))

	It("that loses all pods at 10 % gets nothing until it has one again (row 18)", func(ctx SpecContext) {
		s := begin(ctx, m, model(1))
		s.apply("canary of 10 %", model(2), percent(10))
		s.serves(split{1: 90, 2: 10})

		s.prober.Mark("the canary is not ready")
		s.tellPods(2, false)
		s.serves(split{1: 100, 2: 0})
		s.prober.Mark("the canary is ready again")
		s.tellPods(2, true)
		s.serves(split{1: 90, 2: 10})

		s.prober.Mark("the canary's pod is deleted")
		s.replacesPods(2)
		s.serves(split{1: 90, 2: 10})
	}, inCI, rules(2), SpecTimeout(perStory))

	It("gets no more than was asked while the stable is not ready (row 19)", func(ctx SpecContext) {
		s := begin(ctx, m, model(1))
		s.apply("canary of 10 %", model(2), percent(10))
		s.serves(split{1: 90, 2: 10})
		s.prober.Mark("the stable is not ready")
		s.mayFail("while the stable is not ready", func() {
			s.tellPods(1, false)
			s.condition(v1beta1.ConditionReady, metav1.ConditionUnknown, status.ReasonLoading)
			Consistently(s.isvc).WithArguments(iris).WithTimeout(3 * time.Second).Should(WithTransform(reported, Equal("2:10 1:90")))
			s.tellPods(1, true)
			s.condition(v1beta1.ConditionReady, metav1.ConditionTrue, "Ready")
		})
		s.goesOnServing(split{1: 90, 2: 10})
		Expect(s.journal.Splits(iris)).To(Equal([]string{"1:100", "2:10 1:90"}))
	}, inCI, rules(2), SpecTimeout(perStory))

	It("keeps its share while the stable could not take it back (row 21)", func(ctx SpecContext) {
		s := begin(ctx, m, model(1))
		s.apply("canary of 50 %", model(2), percent(50))
		s.serves(split{1: 50, 2: 50})
		s.prober.Mark("the stable is not ready")
		s.mayFail("while the stable is not ready", func() {
			s.tellPods(1, false)
			s.condition(v1beta1.ConditionReady, metav1.ConditionUnknown, status.ReasonLoading)
			s.apply("rollback", model(2), percent(0))
			s.condition(v1beta1.ConditionRoutesReady, metav1.ConditionUnknown, status.ReasonWaitingForReplicas)
			Consistently(s.isvc).WithArguments(iris).WithTimeout(3 * time.Second).Should(WithTransform(reported, Equal("2:50 1:50")))
			s.tellPods(1, true)
			s.settles(iris, split{1: 100, 2: 0})
		})
		s.goesOnServing(split{1: 100, 2: 0})
		Expect(s.journal.Splits(iris)).To(Equal([]string{"1:100", "2:50 1:50", "2:0 1:100"}))
	}, inCI, rules(2), SpecTimeout(perStory))

	It("is promoted by whoever has lost the stable (row 21)", func(ctx SpecContext) {
		s := begin(ctx, m, model(1))
		s.apply("canary of 50 %", model(2), percent(50))
		s.serves(split{1: 50, 2: 50})
		s.prober.Mark("the stable is deleted for good")
		s.mayFail("while half of the requests go to what is lost", func() {
			s.asleep(func() {
				for _, object := range s.workload(1) {
					s.journal.Excuse(object)
				}
				s.forget(1)
			})
			s.apply("rollback", model(2), percent(0))
			s.condition(v1beta1.ConditionRoutesReady, metav1.ConditionFalse, status.ReasonRevisionLost)
			s.apply("promotion", model(2))
			s.settles(iris, split{2: 100})
		})
		s.goesOnServing(split{2: 100})
	}, SpecTimeout(perStory))
})

// tellPods has the pods of a revision say that they are ready, or that they are not. It waits for one that is yet to start:
// Knative asks for more of them when requests pile up.
func (s *story) tellPods(n int, ready bool) {
	GinkgoHelper()
	pods, err := s.pods(n)
	Expect(err).NotTo(HaveOccurred())
	Expect(pods).NotTo(BeEmpty())
	for i := range pods {
		Eventually(s.tellPod).WithArguments(pods[i].Name, ready).Should(Succeed())
	}
}

// tellPod tells one of them. One that is gone by now says nothing any more.
func (s *story) tellPod(name string, ready bool) error {
	pod := &corev1.Pod{}
	if err := api.Get(s.ctx, s.key(name), pod); err != nil {
		return client.IgnoreNotFound(err)
	}
	return tellPod(s.ctx, pod, ready)
}

// tellPod has a pod of the test server say that it is ready, or that it is not.
func tellPod(ctx context.Context, pod *corev1.Pod, ready bool) error {
	url := fmt.Sprintf("http://%s:8080/test/ready", pod.Status.PodIP)
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(strconv.FormatBool(ready)))
	if err != nil {
		return err
	}
	answer, err := (&http.Client{Timeout: time.Second}).Do(request)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("pod %s answers %s", pod.Name, answer.Status)
	}
	return errors.Join(err, answer.Body.Close())
}

// replacesPods deletes the pods of a revision, and waits until as many others are ready.
func (s *story) replacesPods(n int) {
	GinkgoHelper()
	before, err := s.pods(n)
	Expect(err).NotTo(HaveOccurred())
	Expect(before).NotTo(BeEmpty())
	for i := range before {
		Expect(api.Delete(s.ctx, &before[i])).To(Succeed())
	}
	Eventually(func() (int, error) { return s.readyOthers(n, before) }).Should(Equal(len(before)))
}

// readyPods counts the ready pods of a revision.
func (s *story) readyPods(n int) (int, error) { return s.readyOthers(n, nil) }

// readyOthers counts the ready pods of a revision that are not among those.
func (s *story) readyOthers(n int, before []corev1.Pod) (int, error) {
	pods, err := s.pods(n)
	return len(slices.DeleteFunc(pods, func(pod corev1.Pod) bool {
		known := slices.ContainsFunc(before, func(old corev1.Pod) bool { return old.UID == pod.UID })
		ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		return known || !ready
	})), err
}
