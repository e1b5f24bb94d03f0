// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/test/cluster/operator"
	"github.com/serinus-io/serinus/test/seed"
)

var _ = describeInModes("the walkthrough", modes, func(m mode) {
	It("prints the documented tables and answers the documented request, with real models (row 20)", func(ctx SpecContext) {
		containers := "1"
		if m == inKnative {
			containers = "2" // Including Knative's queue-proxy, as in the document.
			restartOperators(ctx, []operator.Settings{withDefaultMode(m)})
		}
		s := newScenario(ctx, m, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kserve-test"}}, "sklearn-iris")
		if m == inStandard {
			s.picture, s.title = "traffic-walkthrough", "The walkthrough, with real models"
		}
		s.kubectl(seed.First)
		s.awaitTable(seed.FirstTable)
		target := s.target(s.name, rate)
		target.Path = "/v1/models/sklearn-iris:predict"
		s.probe(target)
		s.expectSplit(split{1: 100})

		s.prober.Mark("canary of 10 %")
		s.kubectl(seed.Canary)
		s.awaitTable(seed.CanaryTable)
		s.expectSplit(split{1: 90, 2: 10})
		pods := s.sh("kubectl get pod -n kserve-test")
		Expect(strings.Split(strings.TrimSpace(pods), "\n")).To(HaveExactElements(
			MatchRegexp(`^NAME +READY +STATUS +RESTARTS +AGE$`),
			MatchRegexp(`^sklearn-iris-predictor-00001-deployment-\w+-\w{5} +`+containers+`/`+containers+` +Running +0 +\w+$`),
			MatchRegexp(`^sklearn-iris-predictor-00002-deployment-\w+-\w{5} +`+containers+`/`+containers+` +Running +0 +\w+$`),
		))

		s.prober.Mark("promotion")
		s.kubectl(seed.Promotion)
		s.awaitTable(seed.PromotionTable)
		s.expectSplit(split{2: 100})

		s.prober.Mark("rollback")
		s.kubectl(seed.Rollback)
		s.awaitTable(seed.RollbackTable)
		s.expectSplit(split{1: 100, 2: 0})

		s.prober.Mark("tags")
		s.kubectl(seed.Tags)
		Eventually(func() string {
			return seed.Unindented(s.sh("kubectl get isvc -n kserve-test sklearn-iris -oyaml"))
		}).Should(ContainSubstring(strings.TrimSpace(seed.TagTraffic)))
		s.expectSplit(split{1: 90, 3: 10})
		for tag, revision := range map[string]int{"latest": 3, "prev": 1} {
			response := s.runRequest(strings.ReplaceAll(seed.Request, "latest-", tag+"-"), seed.Input)
			Expect(response).To(SatisfyAll(
				ContainSubstring(`{"predictions": [1, 1]}`), ContainSubstring("X-Served-By: "+revisionOf(s.name, revision)+"-")))
		}
		// The two models classify these flowers differently.
		const different = `{"instances": [[6.0, 2.7, 5.1, 1.6], [4.9, 2.5, 4.5, 1.7]]}`
		Expect(s.runRequest(seed.Request, different)).To(ContainSubstring(`{"predictions": [1, 2]}`))
		Expect(s.runRequest(strings.ReplaceAll(seed.Request, "latest-", "prev-"), different)).To(ContainSubstring(`{"predictions": [2, 1]}`))
	}, inCI, SpecTimeout(scenarioTimeout))
})

func (s *scenario) kubectl(manifest string) {
	GinkgoHelper()
	s.sh("kubectl apply -n " + s.namespace + " -f - <<EOF\n" + manifest + "EOF")
}

// sh runs a shell command with the cluster's kubeconfig and returns its output.
func (s *scenario) sh(command string) string {
	GinkgoHelper()
	out, err := operator.Shell(s.ctx, cluster, root, command).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s\n%s", command, out)
	return string(out)
}

func (s *scenario) awaitTable(table string) {
	GinkgoHelper()
	Eventually(func() string {
		return seed.WithoutAge(s.sh("kubectl get isvc -n " + s.namespace + " " + s.name))
	}).Should(Equal(seed.WithoutAge(table)))
}

// runRequest runs the documented command in a directory that holds the input.
func (s *scenario) runRequest(request, input string) string {
	GinkgoHelper()
	folder := GinkgoT().TempDir()
	Expect(os.WriteFile(filepath.Join(folder, "iris-input.json"), []byte(input), 0o600)).To(Succeed())
	return s.sh(fmt.Sprintf("cd %s && INGRESS_HOST=127.0.0.1 INGRESS_PORT=%d && %s", folder, cluster.GatewayPort(), strings.TrimSpace(request)))
}
