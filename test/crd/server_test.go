// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package crd

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
)

var _ = Describe("The API server", func() {
	accepted, err := readManifests("accepted")
	if err != nil {
		panic(err)
	}
	for _, m := range accepted {
		It("accepts "+m.name+" and keeps all fields", func(ctx SpecContext) {
			stored := inNamespace(ctx, m.object)
			Expect(api.Create(ctx, stored, client.DryRunAll)).To(Succeed())
			Expect(lostFields("spec", m.object.Object["spec"], stored.Object["spec"])).To(BeEmpty())
		})
	}

	rejected, err := readManifests("rejected")
	if err != nil {
		panic(err)
	}
	for _, m := range rejected {
		It("rejects "+m.name, func(ctx SpecContext) {
			err := api.Create(ctx, inNamespace(ctx, m.object), client.DryRunAll)
			Expect(err).To(HaveOccurred())
			Expect(diffErrors(validationErrorsOf(err), m.want)).To(BeEmpty())
		})
	}

	// KServe's status has fields and conditions that are not in our CRD.
	It("accepts an object that was exported from KServe with its status", func(ctx SpecContext) {
		out := run("apply", "--namespace", newNamespace(ctx), "-f", "testdata/exported-from-kserve.yaml")
		Expect(out).To(ContainSubstring("created"))
	})

	It("accepts an additional model in an InferenceService with a framework field", func(ctx SpecContext) {
		patch := func(isvc *unstructured.Unstructured, text string) error {
			return api.Patch(ctx, isvc, client.RawPatch(types.MergePatchType, []byte(text)))
		}
		isvc := inNamespace(ctx, newInferenceService("iris", nil))
		Expect(unstructured.SetNestedMap(isvc.Object, map[string]any{
			"sklearn": map[string]any{"storageUri": "gs://bucket/model", "args": []any{"--a"}},
		}, "spec", "predictor")).To(Succeed())
		Expect(api.Create(ctx, isvc)).To(Succeed())

		By("adding the model, as KServe's clients do")
		Expect(patch(isvc, `{"spec": {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://bucket/model-2"}}}}`)).To(Succeed())

		By("changing other fields afterwards")
		Expect(patch(isvc, `{"spec": {"predictor": {"canaryTrafficPercent": 10, "model": {"args": ["--b"]}}}}`)).To(Succeed())

		By("rejecting changes that would have no effect or add a second model")
		for _, text := range []string{
			`{"spec": {"predictor": {"sklearn": {"storageUri": "gs://bucket/model-3"}}}}`,
			`{"spec": {"predictor": {"xgboost": {"storageUri": "gs://bucket/model-3"}}}}`,
		} {
			Expect(patch(isvc.DeepCopy(), text)).To(MatchError(ContainSubstring("several models are set")))
		}

		By("removing either of them")
		Expect(patch(isvc.DeepCopy(), `{"spec": {"predictor": {"sklearn": null}}}`)).To(Succeed())
	})

	It("accepts the CRDs from a client-side kubectl apply", func() {
		out := run("apply", "-f", crdFolder)
		Expect(strings.Count(out, "configured")).To(Equal(6), out)
	})

	DescribeTable("lets kubectl explain a field", func(field string, want ...string) {
		// The API server publishes the schema of a CRD with a delay.
		var out string
		Eventually(func() (err error) {
			out, err = tryRun("explain", field)
			return err
		}).Should(Succeed())
		for _, text := range want {
			Expect(strings.Join(strings.Fields(out), " ")).To(ContainSubstring(text))
		}
		Expect(out).NotTo(ContainSubstring("<no description>"))
	},
		Entry(nil, "isvc", "releases its new versions step by step"),
		Entry(nil, "isvc.spec.predictor",
			"Share of the traffic, 0 to 100, that the revision that the spec asks for gets once it is ready",
			"KServe's older way to write model with modelFormat sklearn.",
			"A model server of your own, instead of model."),
		Entry(nil, "isvc.spec.predictor.model", "The format of the model.", "Arguments to the entrypoint."),
		Entry(nil, "isvc.spec.predictor.model.env", "Name of the environment variable."),
		Entry(nil, "isvc.status", "For people; programs read the conditions."),
		Entry(nil, "isvc.status.components.traffic", "Share of the requests, in percent."),
		Entry(nil, "canarypolicies", "whose labels match its selector"),
		Entry(nil, "canarypolicies.spec", "Absent: nothing is measured"),
		Entry(nil, "clustercanarypolicies.spec.analysis", "at most 5 % of good canaries are rejected by chance"),
		Entry(nil, "canarypolicies.spec.analysis.metrics", "It is a threshold only: there is no comparison with the stable revision"),
		Entry(nil, "canarypolicies.spec.analysis.metrics.harm", "an outage behind both revisions can exceed it and reject the canary"),
		Entry(nil, "scaletargets", "under a name that does not change with the revision"),
		Entry(nil, "clusterservingruntimes.spec", "The one that serves is called kserve-container"),
	)
})

// An InferenceService that was stored under KServe's CRD can violate any of our rules. Users must
// still be able to change its valid fields, write its status and delete it.
var _ = Describe("An InferenceService that is older than the CRD", func() {
	It("can be updated and deleted", func(ctx SpecContext) {
		ours := &apiextensionsv1.CustomResourceDefinition{}
		Expect(api.Get(ctx, types.NamespacedName{Name: "inferenceservices.serving.kserve.io"}, ours)).To(Succeed())
		withoutRules := ours.DeepCopy()
		withoutRules.Spec.Versions[0].Schema.OpenAPIV3Schema = &apiextensionsv1.JSONSchemaProps{
			Type: "object", XPreserveUnknownFields: new(true),
		}
		Expect(api.Update(ctx, withoutRules)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { restore(ctx, ours) })

		old := inNamespace(ctx, newInferenceService(strings.Repeat("long", 13), map[string]any{
			"batcher":               map[string]any{"maxBatchSize": int64(8)},
			"storageUris":           []any{map[string]any{"uri": "gs://bucket/adapter", "mountPath": "/mnt/adapter"}},
			"activeDeadlineSeconds": int64(60),
			"deploymentStrategy": map[string]any{
				"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxSurge": "1", "maxUnavailable": "0"},
			},
		}))
		Expect(unstructured.SetNestedField(old.Object, int64(10), "spec", "canaryTrafficPercent")).To(Succeed())
		Eventually(func() error { return api.Create(ctx, old) }).Should(Succeed())
		Expect(unstructured.SetNestedField(old.Object, map[string]any{
			"conditions": []any{map[string]any{"type": "Ready", "status": "False", "severity": "Info"}},
			"url":        "http://old.example.com",
		}, "status")).To(Succeed())
		Expect(api.Status().Update(ctx, old)).To(Succeed())

		restore(ctx, ours)

		By("changing the percent")
		patch := client.RawPatch(types.MergePatchType, []byte(`{"spec": {"predictor": {"canaryTrafficPercent": 20}}}`))
		Expect(api.Patch(ctx, old, patch)).To(Succeed())

		By("rejecting changes that add violations")
		worse := client.RawPatch(types.MergePatchType, []byte(`{"spec": {"predictor": {"canaryTrafficPercent": 200}}}`))
		Expect(validationErrorsOf(api.Patch(ctx, old.DeepCopy(), worse))).NotTo(BeEmpty())
		worse = client.RawPatch(types.MergePatchType, []byte(`{"spec": {"predictor": {"logger": {"mode": "all"}}}}`))
		Expect(validationErrorsOf(api.Patch(ctx, old.DeepCopy(), worse))).To(HaveLen(1))
		worse = client.RawPatch(types.MergePatchType, []byte(`{"spec": {"canaryTrafficPercent": 20}}`))
		Expect(validationErrorsOf(api.Patch(ctx, old.DeepCopy(), worse))).To(HaveLen(1))
		worse = client.RawPatch(types.MergePatchType, []byte(`{"spec": {"predictor": {"deploymentStrategy": {"rollingUpdate": {"maxSurge": "2"}}}}}`))
		Expect(validationErrorsOf(api.Patch(ctx, old.DeepCopy(), worse))).NotTo(BeEmpty())

		By("decoding it into the Go type")
		typed := &v1beta1.InferenceService{}
		Expect(api.Get(ctx, client.ObjectKeyFromObject(old), typed)).To(Succeed())
		Expect(typed.Spec.Predictor.CanaryTrafficPercent).To(HaveValue(BeEquivalentTo(20)))
		Expect(typed.Spec.UnsupportedFields()).To(Equal([]string{
			"spec.predictor.activeDeadlineSeconds", "spec.predictor.batcher", "spec.predictor.storageUris",
		}))

		By("writing its status")
		typed.Status.ObservedGeneration = typed.Generation
		typed.Status.Conditions = []metav1.Condition{{
			Type: v1beta1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Unsupported",
			ObservedGeneration: typed.Generation, LastTransitionTime: metav1.Now(),
		}}
		Expect(api.Status().Update(ctx, typed)).To(Succeed())

		By("deleting it")
		Expect(api.Delete(ctx, typed)).To(Succeed())
	})
})

// restore installs our CRD again and waits until the API server enforces it.
func restore(ctx SpecContext, ours *apiextensionsv1.CustomResourceDefinition) {
	GinkgoHelper()
	current := &apiextensionsv1.CustomResourceDefinition{}
	Expect(api.Get(ctx, client.ObjectKeyFromObject(ours), current)).To(Succeed())
	current.Spec = ours.Spec
	Expect(api.Update(ctx, current)).To(Succeed())
	invalid := inNamespace(ctx, newInferenceService("iris", map[string]any{"canaryTrafficPercent": int64(200)}))
	Eventually(func() error { return api.Create(ctx, invalid.DeepCopy(), client.DryRunAll) }).
		Should(MatchError(ContainSubstring("canaryTrafficPercent")))
}

func inNamespace(ctx SpecContext, object *unstructured.Unstructured) *unstructured.Unstructured {
	GinkgoHelper()
	object = object.DeepCopy()
	if !strings.HasPrefix(object.GetKind(), "Cluster") {
		object.SetNamespace(newNamespace(ctx))
	}
	return object
}

var unknownField = regexp.MustCompile(`unknown field "[^"]+"`)

func validationErrorsOf(err error) []validationError {
	GinkgoHelper()
	status, ok := errors.AsType[*apierrors.StatusError](err)
	Expect(ok).To(BeTrue(), "%v", err)
	var validationErrors []validationError
	if strings.Contains(err.Error(), strictDecoding) {
		for _, field := range unknownField.FindAllString(err.Error(), -1) {
			validationErrors = append(validationErrors, validationError{field: strictDecoding, message: field})
		}
		return validationErrors
	}
	for _, cause := range status.ErrStatus.Details.Causes {
		validationErrors = append(validationErrors, validationError{field: cause.Field, message: cause.Message})
	}
	return validationErrors
}

func run(args ...string) string {
	GinkgoHelper()
	out, err := tryRun(args...)
	Expect(err).NotTo(HaveOccurred())
	return out
}

func tryRun(args ...string) (string, error) {
	stdout, stderr, err := kubectl.Run(args...)
	if err != nil {
		errorOutput, _ := io.ReadAll(stderr)
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, errorOutput)
	}
	out, err := io.ReadAll(stdout)
	return string(out), err
}
