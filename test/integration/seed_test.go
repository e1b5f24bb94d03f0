// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The walkthrough of the document that the project implements, word for word: what it applies, and what it has kubectl
// print. The first manifest is not in it, as it begins with a model that serves.

const (
	seedFirst = `
apiVersion: "serving.kserve.io/v1beta1"
kind: "InferenceService"
metadata:
  name: "sklearn-iris"
spec:
  predictor:
    model:
      modelFormat:
        name: sklearn
      storageUri: "gs://kfserving-examples/models/sklearn/1.0/model"
`
	seedCanary = `
apiVersion: "serving.kserve.io/v1beta1"
kind: "InferenceService"
metadata:
  name: "sklearn-iris"
spec:
  predictor:
    canaryTrafficPercent: 10
    model:
      modelFormat:
        name: sklearn
      storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"
`
	seedPromotion = `
apiVersion: "serving.kserve.io/v1beta1"
kind: "InferenceService"
metadata:
  name: "sklearn-iris"
spec:
  predictor:
    model:
      modelFormat:
        name: sklearn
      storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"
`
	seedRollback = `
apiVersion: "serving.kserve.io/v1beta1"
kind: "InferenceService"
metadata:
  name: "sklearn-iris"
spec:
  predictor:
    canaryTrafficPercent: 0
    model:
      modelFormat:
        name: sklearn
      storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"
`
	seedTags = `
apiVersion: "serving.kserve.io/v1beta1"
kind: "InferenceService"
metadata:
  name: "sklearn-iris"
  annotations:
    serving.kserve.io/enable-tag-routing: "true"
spec:
  predictor:
    canaryTrafficPercent: 10
    model:
      modelFormat:
        name: sklearn
      storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"
`
)

const (
	seedFirstTable = `
NAME           URL                                           READY   PREV   LATEST   PREVROLLEDOUTREVISION   LATESTREADYREVISION            AGE
sklearn-iris   http://sklearn-iris.kserve-test.example.com   True           100                              sklearn-iris-predictor-00001   79s
`
	seedCanaryTable = `
NAME           URL                                           READY   PREV   LATEST   PREVROLLEDOUTREVISION          LATESTREADYREVISION            AGE
sklearn-iris   http://sklearn-iris.kserve-test.example.com   True    90     10       sklearn-iris-predictor-00001   sklearn-iris-predictor-00002   11m
`
	seedPromotionTable = `
NAME           URL                                           READY   PREV   LATEST   PREVROLLEDOUTREVISION   LATESTREADYREVISION            AGE
sklearn-iris   http://sklearn-iris.kserve-test.example.com   True           100                              sklearn-iris-predictor-00002   18m
`
	seedRollbackTable = `
NAME           URL                                           READY   PREV   LATEST   PREVROLLEDOUTREVISION          LATESTREADYREVISION            AGE
sklearn-iris   http://sklearn-iris.kserve-test.example.com   True    100    0        sklearn-iris-predictor-00001   sklearn-iris-predictor-00002   22m
`
	seedTraffic = `
traffic:
- latestRevision: true
  percent: 10
  revisionName: sklearn-iris-predictor-00003
  tag: latest
  url: http://latest-sklearn-iris-predictor.kserve-test.example.com
- latestRevision: false
  percent: 90
  revisionName: sklearn-iris-predictor-00001
  tag: prev
  url: http://prev-sklearn-iris-predictor.kserve-test.example.com
`
)

var age = regexp.MustCompile(`(?m)\S+$`)

// withoutAge takes the last column of each row off.
func withoutAge(table string) string { return age.ReplaceAllString(strings.TrimSpace(table), "") }

var _ = Describe("the walkthrough of the document", Serial, func() {
	It("prints the document's tables, run by the operator's own command and with no rights but its own", func(ctx SpecContext) {
		const namespace = "kserve-test"
		Expect(api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
		s := stage(ctx, namespace, afterSpec)
		launch()
		apply := func(manifest string) {
			GinkgoHelper()
			_, err := kubectl(manifest, "apply", "-n", namespace, "-f", "-")
			Expect(err).NotTo(HaveOccurred())
		}
		prints := func(table string) {
			GinkgoHelper()
			Eventually(func() (string, error) {
				printed, err := kubectl("", "get", "isvc", "-n", namespace, "sklearn-iris")
				return withoutAge(printed), err
			}).Should(Equal(withoutAge(table)))
		}

		By("deploying the first model")
		apply(seedFirst)
		prints(seedFirstTable)

		By("configuring a canary release")
		apply(seedCanary)
		prints(seedCanaryTable)
		pods, err := kubectl("", "get", "pod", "-n", namespace)
		Expect(err).NotTo(HaveOccurred())
		Expect(strings.Split(strings.TrimSpace(pods), "\n")).To(HaveExactElements(
			MatchRegexp(`^NAME +READY +STATUS +RESTARTS +AGE$`),
			MatchRegexp(`^sklearn-iris-predictor-00001-deployment-\w+-\w{5} +1/1 +Running +0 +\w+$`),
			MatchRegexp(`^sklearn-iris-predictor-00002-deployment-\w+-\w{5} +1/1 +Running +0 +\w+$`),
		))

		By("promoting the canary")
		apply(seedPromotion)
		prints(seedPromotionTable)
		s.runs(2)

		By("rolling back")
		apply(seedRollback)
		prints(seedRollbackTable)

		By("routing by tag")
		apply(seedTags)
		Eventually(func() (string, error) {
			printed, err := kubectl("", "get", "isvc", "-n", namespace, "sklearn-iris", "-oyaml")
			return unindented(printed), err
		}).Should(ContainSubstring(strings.TrimSpace(seedTraffic)))
		s.tagged(map[string]string{"latest": "3:100", "prev": "1:100"})

		s.history("1:100", "2:10 1:90", "2:100", "2:0 1:100", "1:100", "3:10 1:90")
	})
})

// unindented is YAML with what is below status.components.predictor at the margin.
func unindented(text string) string {
	return strings.ReplaceAll(text, "\n      ", "\n")
}
