// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package crd

import (
	"maps"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/predictor"
)

const policyFolder = "../../config/admission"

type policyCase struct {
	given change
	want  string
}

var rejectedByPolicies = map[string]policyCase{
	"the percent as an annotation": {
		annotated("serving.kserve.io/canaryTrafficPercent", "10"),
		"metadata.annotations[serving.kserve.io/canaryTrafficPercent] has no effect: write spec.predictor.canaryTrafficPercent",
	},
	"the percent as an annotation without a domain": {
		annotated("canaryTrafficPercent", "10"),
		"metadata.annotations[canaryTrafficPercent] has no effect: write spec.predictor.canaryTrafficPercent",
	},
	"the percent by another name": {
		annotated("serving.kserve.io/canary-traffic-percentage", "10"),
		"has no effect: write spec.predictor.canaryTrafficPercent",
	},
	"the percent as a label": {
		labelled("serving.kserve.io/canaryTrafficPercent", "10"),
		"metadata.labels[serving.kserve.io/canaryTrafficPercent] has no effect: write spec.predictor.canaryTrafficPercent",
	},
	"the percent as an annotation of the pods": {
		predictorWith("annotations", map[string]any{"serving.kserve.io/canaryTrafficPercent": "10"}),
		"spec.predictor.annotations[serving.kserve.io/canaryTrafficPercent] has no effect: write spec.predictor.canaryTrafficPercent",
	},
	"the percent as a label of the pods": {
		predictorWith("labels", map[string]any{"canaryTrafficPercent": "10"}),
		"spec.predictor.labels[canaryTrafficPercent] has no effect: write spec.predictor.canaryTrafficPercent",
	},
	"a missing letter":   {annotated("serving.kserve.io/enable-tag-routng", "true"), "write serving.kserve.io/enable-tag-routing"},
	"wrong case":         {annotated("serving.kserve.io/Stop", "true"), "write serving.kserve.io/stop"},
	"lower case":         {annotated("serving.kserve.io/deploymentmode", "Standard"), "write serving.kserve.io/deploymentMode"},
	"hyphens":            {annotated("serving.kserve.io/autoscaler-class", "none"), "write serving.kserve.io/autoscalerClass"},
	"another domain":     {annotated("kserve.io/stop", "true"), "write serving.kserve.io/stop"},
	"KFServing's domain": {annotated("serving.kubeflow.org/autoscalerClass", "hpa"), "write serving.kserve.io/autoscalerClass"},
	"a misspelt label":   {labelled("networking.kserve.io/visiblity", "cluster-local"), "write networking.kserve.io/visibility"},
	"a label as an annotation": {
		annotated("networking.kserve.io/visibility", "cluster-local"),
		"metadata.annotations[networking.kserve.io/visibility] has no effect here: write it in metadata.labels",
	},
	"an annotation as a label": {labelled("serving.kserve.io/stop", "true"), "has no effect here: write it in metadata.annotations"},
	"an annotation of the operator's on the pods": {
		predictorWith("annotations", map[string]any{"serving.kserve.io/stop": "true"}),
		"spec.predictor.annotations[serving.kserve.io/stop] has no effect here: write it in metadata.annotations",
	},
	"ModelMesh":                   {annotated(v1beta1.AnnotationDeploymentMode, "ModelMesh"), "write Standard or Knative; ModelMesh is not supported"},
	"an annotation for ModelMesh": {annotated("serving.kserve.io/secretKey", "s3"), "it is for ModelMesh, which is not supported"},
	"KEDA":                        {annotated(v1beta1.AnnotationAutoscalerClass, "keda"), "write hpa, external or none; keda is not supported"},
	"an annotation for KEDA":      {annotated("autoscaling.keda.sh/paused-replicas", "1"), "KEDA is not supported"},
	"an invalid value": {
		annotated(v1beta1.AnnotationEnableTagRouting, "yes"),
		`metadata.annotations[serving.kserve.io/enable-tag-routing]: write "true" or "false"`,
	},
	"an unknown storage": {
		predictorWith("model", model("ftp://host/model")),
		"spec.predictor.model.storageUri: storage ftp:// is not supported: write one of gs://",
	},
	"requests per second":          {predictorWith("scaleMetric", "rps"), "spec.predictor.scaleMetric: nothing in Standard mode counts requests"},
	"concurrency as an annotation": {annotated(v1beta1.AnnotationMetrics, "concurrency"), "[serving.kserve.io/metrics]: nothing in Standard mode"},
	"a limit of requests":          {predictorWith("containerConcurrency", int64(4)), "spec.predictor.containerConcurrency: nothing in Standard mode"},
	"a strategy in Knative mode": {
		combined(annotated(v1beta1.AnnotationDeploymentMode, "Serverless"), predictorWith("deploymentStrategy", map[string]any{"type": "Recreate"})),
		"spec.predictor.deploymentStrategy: in Knative mode",
	},
	"an autoscaler in Knative mode": {
		combined(annotated(v1beta1.AnnotationDeploymentMode, "Knative"), annotated(v1beta1.AnnotationAutoscalerClass, "external")),
		"in Knative mode Knative scales",
	},
}

var acceptedByPolicies = map[string]policyCase{
	"nothing": {given: combined()},
	"each annotation with a valid value": {given: combined(
		annotated(v1beta1.AnnotationDeploymentMode, "RawDeployment"), annotated(v1beta1.AnnotationEnableTagRouting, "true"),
		annotated(v1beta1.AnnotationStop, "false"), annotated(v1beta1.AnnotationDisableAutoUpdate, "true"),
		annotated(v1beta1.AnnotationAutoscalerClass, "hpa"), annotated(v1beta1.AnnotationMetrics, "memory"),
		annotated(v1beta1.AnnotationTargetUtilizationPercentage, "100"), annotated(v1beta1.AnnotationEnablePrometheusScraping, "true"),
		annotated(v1beta1.AnnotationStorageSecretName, "store.2026"), annotated(v1beta1.AnnotationStorageReadonly, "false"),
		annotated(v1beta1.AnnotationProgressDeadline, "1h30m"), annotated("serving.kserve.io/storage-initializer-uid", "1337"),
		labelled(v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal))},
	"annotations of KServe's without effect": {given: combined(
		annotated("serving.kserve.io/enable-metric-aggregation", "true"), annotated("serving.kserve.io/gpu-resource-types", `["example.com/gpu"]`),
		annotated("serving.kserve.io/storage-initializer-memory", "1Gi"), annotated("serving.kserve.io/own-note", "1"),
		annotated("internal.serving.kserve.io/storage-initializer-sourceuri", "gs://bucket/model"))},
	"Knative's annotations": {given: annotated("autoscaling.knative.dev/target", "10")},
	"keys of other domains": {given: combined(
		annotated("team.example.com/stop", "never"), annotated("example.com/canary", "10"), labelled("stop", "1"), labelled("canary", "true"))},
	"KEDA's annotations with an autoscaler of the user's own": {given: combined(
		annotated(v1beta1.AnnotationAutoscalerClass, "external"), annotated("autoscaling.keda.sh/paused", "true"))},
	"requests per second in Knative mode": {given: combined(annotated(v1beta1.AnnotationDeploymentMode, "Serverless"),
		predictorWith("scaleMetric", "rps"), predictorWith("containerConcurrency", int64(4)))},
	"no limit of requests": {given: predictorWith("containerConcurrency", int64(0))},
	"a path":               {given: predictorWith("model", model("/mnt/models"))},
}

// The policies are installed unchanged except for the failure policy, so that errors in rules fail
// the tests.
var _ = Describe("The admission policies", Ordered, func() {
	var settings *corev1.ConfigMap

	BeforeAll(func(ctx SpecContext) {
		operator := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "serinus-system"}}
		Expect(client.IgnoreAlreadyExists(api.Create(ctx, operator))).To(Succeed())
		settings = &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: operator.Name, Name: "serinus-config"},
			Data:       map[string]string{"config.yaml": "# deploymentMode: Knative\ndeploymentMode: Standard\n"},
		}
		Expect(api.Create(ctx, settings)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, settings)).To(Succeed()) })
		install(ctx)
		DeferCleanup(unbind)
	})

	for name, test := range rejectedByPolicies {
		It("reject "+name, func(ctx SpecContext) {
			isvc := inNamespace(ctx, test.given.applyTo(newInferenceService("iris", nil)))
			Expect(api.Create(ctx, isvc, client.DryRunAll)).To(MatchError(ContainSubstring(test.want)))
		})
	}
	for name, test := range acceptedByPolicies {
		It("accept "+name, func(ctx SpecContext) {
			isvc := inNamespace(ctx, test.given.applyTo(newInferenceService("iris", nil)))
			Expect(api.Create(ctx, isvc, client.DryRunAll)).To(Succeed())
		})
	}

	// This test must run before a test that deletes the bindings: after they are created again, the
	// API server does not observe changes of the parameters.
	It("use the mode of the status, then of the annotation, then of the configuration", func(ctx SpecContext) {
		limited := predictorWith("containerConcurrency", int64(4))
		live := inNamespace(ctx, newInferenceService("live", nil))
		Expect(api.Create(ctx, live)).To(Succeed())
		Expect(unstructured.SetNestedField(live.Object, "Standard", "status", "deploymentMode")).To(Succeed())
		Expect(api.Status().Update(ctx, live)).To(Succeed())

		settings.Data["config.yaml"] = "kind: OperatorConfiguration\ndeploymentMode: Knative\n"
		Expect(api.Update(ctx, settings)).To(Succeed())
		Eventually(func() error {
			return api.Create(ctx, inNamespace(ctx, limited.applyTo(newInferenceService("new", nil))), client.DryRunAll)
		}).Should(Succeed())
		Expect(api.Create(ctx, inNamespace(ctx, combined(limited, annotated(v1beta1.AnnotationDeploymentMode, "Standard")).applyTo(newInferenceService("new", nil))), client.DryRunAll)).
			To(MatchError(ContainSubstring("spec.predictor.containerConcurrency")))
		Expect(api.Patch(ctx, live.DeepCopy(), merge(`{"spec": {"predictor": {"containerConcurrency": 4}}}`))).
			To(MatchError(ContainSubstring("spec.predictor.containerConcurrency")))
		Expect(api.Patch(ctx, live.DeepCopy(), merge(`{"metadata": {"annotations": {"serving.kserve.io/deploymentMode": "Serverless"}}}`))).
			To(MatchError(ContainSubstring("the mode of a live InferenceService cannot change from Standard")))
		Expect(api.Patch(ctx, live.DeepCopy(), merge(`{"metadata": {"annotations": {"serving.kserve.io/deploymentMode": "RawDeployment"}}}`))).To(Succeed())

		settings.Data["config.yaml"] = "deploymentMode: Standard\n"
		Expect(api.Update(ctx, settings)).To(Succeed())
		Eventually(func() error {
			return api.Create(ctx, inNamespace(ctx, limited.applyTo(newInferenceService("new", nil))), client.DryRunAll)
		}).ShouldNot(Succeed())
	})

	It("agree with the operator on supported storage", func(ctx SpecContext) {
		for _, scheme := range []string{
			"gs", "s3", "hf", "pvc", "oci", "oci+native", "oci+fetch", "https", "http", "hdfs", "webhdfs", "file", "ftp", "abfs", "modelscope", "S3",
		} {
			isvc := inNamespace(ctx, predictorWith("model", model(scheme+"://host/model")).applyTo(newInferenceService("iris", nil)))
			typed := &v1beta1.InferenceService{}
			text, err := isvc.MarshalJSON()
			Expect(err).NotTo(HaveOccurred())
			Expect(yaml.Unmarshal(text, typed)).To(Succeed())
			_, resolveErr := predictor.Resolve(typed, predictor.Runtimes{}, predictor.Settings{})
			supported := !strings.Contains(resolveErr.Error(), "not supported")
			if err := api.Create(ctx, isvc, client.DryRunAll); supported {
				Expect(err).NotTo(HaveOccurred(), scheme)
			} else {
				Expect(err).To(MatchError(ContainSubstring("is not supported")), scheme)
			}
		}
	})

	It("agree with the operator on misspellings", func(ctx SpecContext) {
		for _, key := range []string{
			"enable-tag-routting", "enable-tag-route", "Deployment-Mode", "deploymentMod", "stopp", "step", "autoscaler_class", "autoscale", "metric",
			"target-utilization-percentage", "enable-prometheus-scrape", "storagesecretname", "storageSecretKey", "gke-acelerator", "disable-autoupdate",
			"canaryTrafficPercentage", "canaryTraffic", "storage-initializer-cpu", "storage-initializer-UID", "nodegroup", "node-group", "visibility",
			"readonly", "progress-deadline", "own-note", "minReplicas", "deploymentStrategy",
		} {
			isvc := newInferenceService("iris", nil)
			isvc.SetAnnotations(map[string]string{"serving.kserve.io/" + key: "x"})
			typed := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Annotations: isvc.GetAnnotations()}}
			ignored := predictor.IgnoredSettings(typed, predictor.Settings{})
			Expect(ignored).To(HaveLen(1), key)
			right, misspelt := strings.CutPrefix(ignored[0].Message, "has no effect; write ")
			misspelt = misspelt && right != "spec.predictor."+key
			if err := api.Create(ctx, inNamespace(ctx, isvc), client.DryRunAll); misspelt {
				Expect(err).To(MatchError(ContainSubstring("has no effect: write "+right)), key)
			} else {
				Expect(err).NotTo(HaveOccurred(), key)
			}
		}
	})

	Describe("for an object that is older than the policies", func() {
		var stored *unstructured.Unstructured

		BeforeEach(func(ctx SpecContext) {
			unbind(ctx)
			stored = inNamespace(ctx, combined(
				annotated("serving.kserve.io/canaryTrafficPercent", "10"), annotated("serving.kserve.io/Stop", "true"),
				annotated(v1beta1.AnnotationAutoscalerClass, "keda"), predictorWith("model", model("ftp://host/model")),
				predictorWith("containerConcurrency", int64(4)), predictorWith("scaleMetric", "rps"),
			).applyTo(newInferenceService("old", nil)))
			stored.SetFinalizers([]string{"example.com/hold"})
			Expect(api.Create(ctx, stored)).To(Succeed())
			install(ctx)
		})

		It("reject only what a request adds", func(ctx SpecContext) {
			By("setting the percent to 0")
			Expect(api.Patch(ctx, stored, merge(`{"spec": {"predictor": {"canaryTrafficPercent": 0}}}`))).To(Succeed())
			By("changing its model's resources and a label")
			Expect(api.Patch(ctx, stored, merge(`{"metadata": {"labels": {"team": "b"}}, "spec": {"predictor": {"minReplicas": 2}}}`))).To(Succeed())
			By("removing a misspelt annotation")
			Expect(api.Patch(ctx, stored, merge(`{"metadata": {"annotations": {"serving.kserve.io/Stop": null}}}`))).To(Succeed())

			By("changing one wrong value to another")
			for patch, want := range map[string]string{
				`{"metadata": {"annotations": {"serving.kserve.io/canaryTrafficPercent": "20"}}}`: "write spec.predictor.canaryTrafficPercent",
				`{"metadata": {"annotations": {"serving.kserve.io/Stop": "true"}}}`:               "write serving.kserve.io/stop",
				`{"spec": {"predictor": {"model": {"storageUri": "ftp://host/other"}}}}`:          "storage ftp:// is not supported",
				`{"spec": {"predictor": {"containerConcurrency": 8}}}`:                            "spec.predictor.containerConcurrency",
				`{"spec": {"predictor": {"scaleMetric": "concurrency"}}}`:                         "spec.predictor.scaleMetric",
			} {
				Expect(api.Patch(ctx, stored.DeepCopy(), merge(patch))).To(MatchError(ContainSubstring(want)), patch)
			}

			By("changing it while it is being deleted")
			Expect(api.Delete(ctx, stored)).To(Succeed())
			Expect(api.Patch(ctx, stored, merge(`{"metadata": {"finalizers": null, "annotations": {"serving.kserve.io/Stop": "true"}}}`))).To(Succeed())
			Eventually(func() error { return api.Get(ctx, client.ObjectKeyFromObject(stored), stored) }).ShouldNot(Succeed())
		})
	})
})

// install creates the policies or their bindings and waits until the API server enforces them.
func install(ctx SpecContext) {
	GinkgoHelper()
	for _, object := range policies() {
		Expect(client.IgnoreAlreadyExists(api.Create(ctx, object))).To(Succeed())
	}
	for _, violation := range []change{annotated("serving.kserve.io/Stop", "true"), predictorWith("containerConcurrency", int64(4))} {
		isvc := inNamespace(ctx, violation.applyTo(newInferenceService("probe", nil)))
		Eventually(func() error { return api.Create(ctx, isvc.DeepCopy(), client.DryRunAll) }).ShouldNot(Succeed())
	}
}

// unbind deletes the bindings and waits until the API server does not enforce the policies.
func unbind(ctx SpecContext) {
	GinkgoHelper()
	for _, object := range policies() {
		if _, binds := object.(*admissionv1.ValidatingAdmissionPolicyBinding); binds {
			Expect(client.IgnoreNotFound(api.Delete(ctx, object))).To(Succeed())
		}
	}
	isvc := inNamespace(ctx, combined(annotated("serving.kserve.io/Stop", "true"), predictorWith("containerConcurrency", int64(4))).applyTo(newInferenceService("probe", nil)))
	Eventually(func() error { return api.Create(ctx, isvc.DeepCopy(), client.DryRunAll) }).Should(Succeed())
}

// policies returns the policies and bindings of config/admission with the failure policy Fail.
func policies() []client.Object {
	GinkgoHelper()
	var all []client.Object
	for file, object := range map[string]client.Object{
		"policy.yaml": &admissionv1.ValidatingAdmissionPolicy{}, "policy_binding.yaml": &admissionv1.ValidatingAdmissionPolicyBinding{},
		"mode_policy.yaml": &admissionv1.ValidatingAdmissionPolicy{}, "mode_policy_binding.yaml": &admissionv1.ValidatingAdmissionPolicyBinding{},
	} {
		text, err := os.ReadFile(filepath.Join(policyFolder, file))
		Expect(err).NotTo(HaveOccurred())
		Expect(yaml.UnmarshalStrict(text, object)).To(Succeed())
		if policy, ok := object.(*admissionv1.ValidatingAdmissionPolicy); ok {
			policy.Spec.FailurePolicy = new(admissionv1.Fail)
		}
		all = append(all, object)
	}
	return all
}

type change func(*unstructured.Unstructured)

func (c change) applyTo(isvc *unstructured.Unstructured) *unstructured.Unstructured {
	c(isvc)
	return isvc
}

func combined(changes ...change) change {
	return func(isvc *unstructured.Unstructured) {
		for _, c := range changes {
			c(isvc)
		}
	}
}

func annotated(key, value string) change {
	return func(isvc *unstructured.Unstructured) {
		all := map[string]string{key: value}
		maps.Copy(all, isvc.GetAnnotations())
		isvc.SetAnnotations(all)
	}
}

func labelled(key, value string) change {
	return func(isvc *unstructured.Unstructured) {
		all := map[string]string{key: value}
		maps.Copy(all, isvc.GetLabels())
		isvc.SetLabels(all)
	}
}

func predictorWith(field string, value any) change {
	return func(isvc *unstructured.Unstructured) {
		if err := unstructured.SetNestedField(isvc.Object, value, "spec", "predictor", field); err != nil {
			panic(err)
		}
	}
}

func model(uri string) map[string]any {
	return map[string]any{"modelFormat": map[string]any{"name": "sklearn"}, "storageUri": uri}
}

func merge(patch string) client.Patch {
	return client.RawPatch("application/merge-patch+json", []byte(patch))
}
