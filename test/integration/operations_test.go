// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// newCommandScenario creates a scenario for the manager command.
func newCommandScenario(ctx SpecContext) *scenario {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "scenario-"}}
	Expect(api.Create(ctx, namespace)).To(Succeed())
	return newScenario(ctx, namespace.Name, afterSpec)
}

// leader returns the holder of the operator's lease, or an empty string.
func leader(ctx context.Context) (string, error) {
	lease := &coordinationv1.Lease{}
	err := api.Get(ctx, client.ObjectKey{Namespace: "serinus-system", Name: "serinus-controller-manager"}, lease)
	if lease.Spec.HolderIdentity == nil {
		return "", client.IgnoreNotFound(err)
	}
	return *lease.Spec.HolderIdentity, client.IgnoreNotFound(err)
}

// token creates a ServiceAccount and returns a token for it.
func (s *scenario) token(name string) string {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	Expect(api.Create(s.ctx, account)).To(Succeed())
	request := &authenticationv1.TokenRequest{}
	Expect(api.SubResource("token").Create(s.ctx, account, request)).To(Succeed())
	return request.Status.Token
}

func first[A, B any](a A, _ B) A { return a }

var _ = Describe("two replicas of the operator", Serial, func() {
	It("act one at a time, and the standby takes over during a canary", func(ctx SpecContext) {
		s := newCommandScenario(ctx)
		leading := launch()
		s.apply(model(1))
		s.awaitColumns("True", "", "100", "", revision(1))
		holder, err := leader(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(holder).NotTo(BeEmpty())

		By("starting a standby")
		standby := launch()
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		Expect(leader(ctx)).To(Equal(holder))
		Expect(standby.session.Err.Contents()).NotTo(ContainSubstring("Rollout progressed"))

		By("terminating the leader")
		leading.session.Signal(syscall.SIGTERM)
		Eventually(leading.session).Should(gexec.Exit(0))
		Eventually(leader).WithArguments(ctx).ShouldNot(Or(BeEmpty(), Equal(holder)))
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100")

		By("terminating the standby")
		standby.session.Signal(syscall.SIGTERM)
		Eventually(standby.session).Should(gexec.Exit(0))
		Expect(leader(ctx)).To(BeEmpty(), "the lease was not released")
	})
})

var _ = Describe("the metrics of the operator", Serial, func() {
	It("require permission to read them", func(ctx SpecContext) {
		s := newCommandScenario(ctx)
		p := launch()
		s.apply(model(1))
		s.awaitColumns("True", "", "100", "", revision(1))
		insecure := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // The certificate is self-signed.
		}}
		scrape := func(token string) (int, string) {
			GinkgoHelper()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+p.metrics+"/metrics", http.NoBody)
			Expect(err).NotTo(HaveOccurred())
			if token != "" {
				request.Header.Set("Authorization", "Bearer "+token)
			}
			response, err := insecure.Do(request)
			Expect(err).NotTo(HaveOccurred())
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			Expect(err).NotTo(HaveOccurred())
			return response.StatusCode, string(body)
		}

		Expect(first(scrape(""))).To(Equal(http.StatusUnauthorized))
		Expect(first(scrape(s.token("unprivileged")))).To(Equal(http.StatusForbidden))

		Expect(api.Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: s.namespace + "-metrics"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "serinus-metrics-reader"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.namespace, Name: "prometheus"}},
		})).To(Succeed())
		code, body := scrape(s.token("prometheus"))
		Expect(code).To(Equal(http.StatusOK))
		Expect(body).To(SatisfyAll(
			ContainSubstring(`serinus_rollouts{phase="Stable"} 1`),
			MatchRegexp(`serinus_traffic_shifts_total{[^}]*direction="up"[^}]*} 1`),
			ContainSubstring("serinus_spec_to_traffic_seconds_count 1")))
	})
})
