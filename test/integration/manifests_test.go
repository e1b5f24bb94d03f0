// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

// withFrequentResync makes the operator reconcile repeatedly without a change.
func withFrequentResync(cfg *config.Config) {
	cfg.Controller.ResyncPeriod.Duration = 200 * time.Millisecond
}

// The operator must recognise the objects that it applied after the API server has set defaults and
// normalised quantities. Otherwise it would write forever.
var _ = Describe("a manifest", func() {
	files, err := filepath.Glob(filepath.Join(repoRoot, "config", "samples", "*.yaml"))
	if err != nil || len(files) == 0 {
		panic("no samples found")
	}
	files = append(files, filepath.Join("testdata", "everything.yaml"))
	for _, name := range []string{"framework-full", "kserve-custom-container", "kserve-huggingface-s3"} {
		files = append(files, filepath.Join(repoRoot, "test", "crd", "testdata", "accepted", name+".yaml"))
	}
	for _, file := range files {
		It("of "+filepath.Base(file)+" is served and then causes no writes", func(ctx SpecContext) {
			s := startScenario(ctx, withFrequentResync)
			s.createReferencedObjects()
			objects, err := objectsIn(file)
			Expect(err).NotTo(HaveOccurred())
			var services []string
			for _, object := range objects {
				object.SetNamespace(s.namespace)
				Expect(api.Create(ctx, object)).To(Succeed())
				if object.GetKind() == "InferenceService" {
					services = append(services, object.GetName())
				}
			}
			Expect(services).NotTo(BeEmpty())
			for _, name := range services {
				Eventually(func() (*metav1.Condition, error) {
					isvc := &v1beta1.InferenceService{}
					err := api.Get(ctx, s.key(name), isvc)
					return apimeta.FindStatusCondition(isvc.Status.Conditions, v1beta1.ConditionReady), err
				}).Should(BeCondition(metav1.ConditionTrue, "Ready", "100 %"), name)
			}
			s.expectNoWritesDuring(2*len(services), func() {})
		})
	}
})

// createReferencedObjects creates the objects that manifests refer to or that pods require.
func (s *scenario) createReferencedObjects() {
	GinkgoHelper()
	for _, object := range []client.Object{
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 1000},
		&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "gvisor"}, Handler: "runsc"},
	} {
		Expect(client.IgnoreAlreadyExists(api.Create(s.ctx, object))).To(Succeed())
	}
	for _, name := range []string{"reader", "sa", "s3-reader"} {
		Expect(api.Create(s.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}})).To(Succeed())
	}
	s.grantSecretAccess()
	Expect(api.Create(s.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "storage-config"},
		StringData: map[string]string{"localMinIO": `{"type":"s3","access_key_id":"a","secret_access_key":"b","endpoint_url":"http://minio:9000","bucket":"models","region":"x"}`},
	})).To(Succeed())
}

// grantSecretAccess lets the operator read the Secrets of the namespace.
func (s *scenario) grantSecretAccess() {
	GinkgoHelper()
	Expect(api.Create(s.ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "credentials-reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "serinus-credentials-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "serinus-system", Name: "serinus-controller-manager"}},
	})).To(Succeed())
}

var _ = Describe("Secrets", func() {
	withAccount := func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.ServiceAccountName = "reader"
		isvc.Spec.Predictor.Model.StorageURI = new("s3://models/iris")
	}

	It("cannot be read without permission, and the condition has the command that grants it", func(ctx SpecContext) {
		s := startScenario(ctx)
		Expect(api.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "minio"}})).To(Succeed())
		Expect(api.Create(ctx, &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "reader"},
			Secrets:    []corev1.ObjectReference{{Name: "minio"}},
		})).To(Succeed())
		s.apply(model(1), withAccount)
		s.awaitColumns("False", "", "", "", "")
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "CredentialsNotReadable",
			`the operator may not read Secret "minio"`))
		s.awaitSettled()
		writes := []string{}
		for _, write := range s.operator.wire.Writes() {
			writes = append(writes, write.String())
		}
		Expect(writes).To(Equal([]string{"patch inferenceservices/status " + iris}), "a revision that cannot be created must not get another number")

		By("running the suggested command")
		s.runSuggestedCommand(v1beta1.ConditionReady)
		s.restartOperator() // The operator would also retry without a restart, but later.
		s.awaitColumns("True", "", "100", "", revision(1))
	})

	It("must exist, and so must the ServiceAccount, before a revision is created", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.grantSecretAccess()
		expectMissing := func(message string) {
			GinkgoHelper()
			s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "CredentialsNotFound", message))
			s.awaitSettled()
			s.expectNoWrites()
			Expect(s.revisionHistory()).To(BeEmpty())
		}
		s.apply(model(1), withAccount)
		expectMissing(`there is no ServiceAccount "reader" in namespace ` + s.namespace)
		Expect(api.Create(ctx, &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "reader"},
			Secrets:    []corev1.ObjectReference{{Name: "minio"}},
		})).To(Succeed())
		s.restartOperator()
		expectMissing(`ServiceAccount "reader" lists Secret "minio", and there is no such Secret`)
		Expect(api.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "minio"}})).To(Succeed())
		s.restartOperator()
		s.awaitColumns("True", "", "100", "", revision(1))
	})

	// keys returns a Secret with S3 credentials.
	keys := func(s *scenario, name string, annotations map[string]string) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name, Annotations: annotations},
			StringData: map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
		}
	}
	listSecret := func(s *scenario, secret string) {
		GinkgoHelper()
		Expect(api.Create(s.ctx, keys(s, secret, nil))).To(Succeed())
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "reader"}}
		Expect(client.IgnoreAlreadyExists(api.Create(s.ctx, account))).To(Succeed())
		patch := fmt.Appendf(nil, `{"secrets":[{"name":%q}]}`, secret)
		Expect(api.Patch(s.ctx, account, client.RawPatch(types.MergePatchType, patch))).To(Succeed())
	}
	// download returns the environment of a revision's storage initializer.
	download := func(s *scenario, n int) func() ([]corev1.EnvVar, error) {
		return func() ([]corev1.EnvVar, error) {
			deployment, err := s.deployment(n)
			if err != nil {
				return nil, err
			}
			return deployment.Spec.Template.Spec.InitContainers[0].Env, nil
		}
	}
	from := func(secret string) gomegatypes.GomegaMatcher {
		return SatisfyAll(HaveField("Name", "AWS_ACCESS_KEY_ID"), HaveField("ValueFrom.SecretKeyRef.Name", secret))
	}

	It("that are corrected are used by a revision whose download failed", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.grantSecretAccess()
		listSecret(s, "store")
		endpoint := func(address string) {
			GinkgoHelper()
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"serving.kserve.io/s3-endpoint":%q}}}`, address)
			Expect(api.Patch(ctx, keys(s, "store", nil), client.RawPatch(types.MergePatchType, patch))).To(Succeed())
		}
		endpoint("wrong:9000")
		s.setPods(1, fakecluster.InitCrash(1, "no such host"))
		s.apply(model(1), withAccount)
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "ModelDownloadFailed", ""))
		endpoint("right:9000")
		s.restartOperator() // The operator would also retry without a restart, but later.
		Eventually(download(s, 1)).Should(ContainElement(corev1.EnvVar{Name: "AWS_ENDPOINT_URL", Value: "https://right:9000"}))
		s.setPods(1, fakecluster.Ready())
		s.awaitColumns("True", "", "100", "", revision(1))
		Expect(s.revisionHistory()).To(ConsistOf(revision(1)))
	})

	It("that were replaced by others are reported for the serving revision before its pods fail", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.grantSecretAccess()
		listSecret(s, "s3-2025")
		s.apply(model(1), withAccount)
		s.awaitColumns("True", "", "100", "", revision(1))
		nextRelease := annotation("example.com/release", "2")
		s.apply(model(1), withAccount, nextRelease, percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		listSecret(s, "s3-2026")
		Expect(api.Delete(ctx, keys(s, "s3-2025", nil))).To(Succeed())
		s.restartOperator() // The operator would also retry without a restart, but later.
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "CredentialsGone",
			revision(1)+` refers to Secret "s3-2025", which does not exist: no new pod of it can start`))
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "CredentialsGone",
			"; it takes the place of this one once canaryTrafficPercent is removed"))
		s.runSuggestedCommand(v1beta1.ConditionReady)
		Eventually(download(s, 3)).Should(ContainElement(from("s3-2026")))
		s.awaitSplit("3:10 1:90")
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"predictor":{"canaryTrafficPercent":null}}}`))
		Expect(api.Patch(ctx, isvc, patch)).To(Succeed())
		s.awaitColumns("True", "", "100", "", revision(3))
		s.awaitSplitHistory("1:100", "2:10 1:90", "1:100", "3:10 1:90", "3:100")
	})

	It("that are deleted are reported within half a minute, and the report ends once they are back", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.grantSecretAccess()
		listSecret(s, "minio")
		s.apply(model(1), withAccount)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.awaitSettled()

		Expect(api.Delete(ctx, keys(s, "minio", nil))).To(Succeed())
		s.awaitConditionWithin(30*time.Second, v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "CredentialsGone", `refers to Secret "minio", which does not exist`))
		s.awaitSplit("1:100")
		Expect(api.Create(ctx, keys(s, "minio", nil))).To(Succeed())
		s.awaitConditionWithin(30*time.Second, v1beta1.ConditionReady, BeCondition(metav1.ConditionTrue, "Ready", ""))
	})
})

var _ = Describe("a change of the serving runtime", func() {
	runtime := func(s *scenario, image string) *v1alpha1.ServingRuntime {
		return &v1alpha1.ServingRuntime{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "ours"},
			Spec: v1alpha1.ServingRuntimeSpec{
				SupportedModelFormats: []v1alpha1.SupportedModelFormat{{Name: "sklearn", AutoSelect: new(true)}},
				ServingRuntimePodSpec: v1alpha1.ServingRuntimePodSpec{
					Containers: []corev1.Container{{Name: v1beta1.ServingContainerName, Image: image}},
				},
			},
		}
	}
	update := func(ctx SpecContext, s *scenario, image string) {
		GinkgoHelper()
		current := &v1alpha1.ServingRuntime{}
		Expect(api.Get(ctx, s.key("ours"), current)).To(Succeed())
		current.Spec = runtime(s, image).Spec
		Expect(api.Update(ctx, current)).To(Succeed())
	}

	It("creates a revision", func(ctx SpecContext) {
		s := startScenario(ctx)
		Expect(api.Create(ctx, runtime(s, "example.com/server:1"))).To(Succeed())
		s.setUpStable()
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.ServingRuntimeName).To(Equal("ours"))
		update(ctx, s, "example.com/server:2")
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRolloutState("S=2 V=1")
	})

	It("creates none if automatic updates are disabled", func(ctx SpecContext) {
		s := startScenario(ctx)
		Expect(api.Create(ctx, runtime(s, "example.com/server:1"))).To(Succeed())
		noAutoUpdate := annotation(v1beta1.AnnotationDisableAutoUpdate, "true")
		s.apply(model(1), noAutoUpdate)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.expectNoWritesDuring(1, func() { update(ctx, s, "example.com/server:2") })
		Expect(s.revisionHistory()).To(ConsistOf(revision(1)))

		By("changing the model too")
		s.apply(model(2), noAutoUpdate)
		s.awaitColumns("True", "", "100", "", revision(2))
	})

	It("keeps the percent of a canary", func(ctx SpecContext) {
		s := startScenario(ctx)
		Expect(api.Create(ctx, runtime(s, "example.com/server:1"))).To(Succeed())
		s.setUpStable()
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		update(ctx, s, "example.com/server:2")
		s.awaitColumns("True", "90", "10", revision(1), revision(3))
		s.awaitSplitHistory("1:100", "2:10 1:90", "1:100", "3:10 1:90")
	})

	It("that adds a better match does not affect existing revisions", func(ctx SpecContext) {
		s := startCanary(ctx)
		s.expectNoWritesDuring(1, func() { Expect(api.Create(ctx, runtime(s, "example.com/server:1"))).To(Succeed()) })
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.apply(model(2), label("team", "b"))
		s.awaitColumns("True", "", "100", "", revision(3))
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.ClusterServingRuntimeName).To(Equal("kserve-sklearnserver"))

		By("deploying another model")
		s.apply(model(3))
		s.awaitColumns("True", "", "100", "", revision(4))
		isvc, err = s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.ServingRuntimeName).To(Equal("ours"))
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "3:100", "4:100")
	})
})
