// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/test/seed"
)

var _ = Describe("the walkthrough of the seed document", Serial, func() {
	It("prints the documented tables when run by the manager command with only its own rights", func(ctx SpecContext) {
		const namespace = "kserve-test"
		Expect(api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
		s := newScenario(ctx, namespace, afterSpec)
		launch()
		apply := func(manifest string) {
			GinkgoHelper()
			_, err := kubectl(manifest, "apply", "-n", namespace, "-f", "-")
			Expect(err).NotTo(HaveOccurred())
		}
		awaitTable := func(table string) {
			GinkgoHelper()
			Eventually(func() (string, error) {
				printed, err := kubectl("", "get", "isvc", "-n", namespace, "sklearn-iris")
				return seed.WithoutAge(printed), err
			}).Should(Equal(seed.WithoutAge(table)))
		}

		By("deploying the first model")
		apply(seed.First)
		awaitTable(seed.FirstTable)

		By("configuring a canary release")
		apply(seed.Canary)
		awaitTable(seed.CanaryTable)
		pods, err := kubectl("", "get", "pod", "-n", namespace)
		Expect(err).NotTo(HaveOccurred())
		Expect(strings.Split(strings.TrimSpace(pods), "\n")).To(HaveExactElements(
			MatchRegexp(`^NAME +READY +STATUS +RESTARTS +AGE$`),
			MatchRegexp(`^sklearn-iris-predictor-00001-deployment-\w+-\w{5} +1/1 +Running +0 +\w+$`),
			MatchRegexp(`^sklearn-iris-predictor-00002-deployment-\w+-\w{5} +1/1 +Running +0 +\w+$`),
		))

		By("promoting the canary")
		apply(seed.Promotion)
		awaitTable(seed.PromotionTable)
		s.awaitRunning(2)

		By("rolling back")
		apply(seed.Rollback)
		awaitTable(seed.RollbackTable)

		By("enabling tag routing")
		apply(seed.Tags)
		Eventually(func() (string, error) {
			printed, err := kubectl("", "get", "isvc", "-n", namespace, "sklearn-iris", "-oyaml")
			return seed.Unindented(printed), err
		}).Should(ContainSubstring(strings.TrimSpace(seed.TagTraffic)))
		s.awaitTags(map[string]string{"latest": "3:100", "prev": "1:100"})

		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "2:0 1:100", "1:100", "3:10 1:90")
	})
})
