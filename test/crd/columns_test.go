// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package crd

import (
	"encoding/json"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

const (
	stable = "sklearn-iris-predictor-00001"
	canary = "sklearn-iris-predictor-00002"
	url    = "http://sklearn-iris.kserve-test.example.com"
)

var _ = Describe("The columns of an InferenceService", func() {
	It("are KServe's columns and two more in wide output", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		create(ctx, namespace, nil)

		var columns []string
		for _, column := range table(ctx, namespace).ColumnDefinitions {
			name := column.Name + " " + column.Type
			if column.Priority > 0 {
				name += " wide"
			}
			columns = append(columns, name)
		}
		Expect(columns).To(Equal([]string{
			"Name string",
			"URL string",
			"Ready string",
			"Prev integer",
			"Latest integer",
			"PrevRolledoutRevision string",
			"LatestReadyRevision string",
			"Age date",
			"Phase string wide",
			"Reason string wide",
		}))
	})

	DescribeTable("come from the status", func(ctx SpecContext, traffic []v1beta1.TrafficTarget, want ...any) {
		namespace := newNamespace(ctx)
		create(ctx, namespace, traffic)
		cells := table(ctx, namespace).Rows[0].Cells
		const age = 7
		Expect(cells[age]).To(MatchRegexp(`^\d+s$`))
		cells[age] = "age"
		Expect(cells).To(HaveExactElements(want...))
	},
		Entry("before the first revision is ready", nil,
			"sklearn-iris", nil, nil, nil, nil, nil, nil, "age", nil, nil),
		Entry("with one revision",
			[]v1beta1.TrafficTarget{{LatestRevision: new(true), Percent: new(int64(100)), RevisionName: stable}},
			"sklearn-iris", url, "True", nil, float64(100), nil, stable, "age", "Stable", "Serving"),
		Entry("with a canary, and tag routing",
			[]v1beta1.TrafficTarget{
				{LatestRevision: new(true), Percent: new(int64(10)), RevisionName: canary, Tag: "latest", URL: "http://latest-sklearn-iris-predictor.kserve-test.example.com"},
				{LatestRevision: new(false), Percent: new(int64(90)), RevisionName: stable, Tag: "prev", URL: "http://prev-sklearn-iris-predictor.kserve-test.example.com"},
			},
			"sklearn-iris", url, "True", float64(90), float64(10), stable, canary, "age", "Stable", "Serving"),
		Entry("rolled back",
			[]v1beta1.TrafficTarget{
				{LatestRevision: new(true), Percent: new(int64(0)), RevisionName: canary},
				{LatestRevision: new(false), Percent: new(int64(100)), RevisionName: stable, Tag: "prev"},
			},
			"sklearn-iris", url, "True", float64(100), float64(0), stable, canary, "age", "Stable", "Serving"),
	)

	// The expected tables are in the format of KServe's documentation.
	DescribeTable("are printed by kubectl as in KServe's documentation", func(ctx SpecContext, traffic []v1beta1.TrafficTarget, want ...string) {
		namespace := newNamespace(ctx)
		create(ctx, namespace, traffic)
		out := run("get", "isvc", "-n", namespace, "sklearn-iris")
		out = regexp.MustCompile(`(?m)\d+s\s*$`).ReplaceAllString(out, "<age>")
		Expect(strings.Split(strings.TrimSpace(out), "\n")).To(Equal(want))
	},
		Entry("with one revision",
			[]v1beta1.TrafficTarget{{LatestRevision: new(true), Percent: new(int64(100)), RevisionName: stable}},
			"NAME           URL                                           READY   PREV   LATEST   PREVROLLEDOUTREVISION   LATESTREADYREVISION            AGE",
			"sklearn-iris   http://sklearn-iris.kserve-test.example.com   True           100                              sklearn-iris-predictor-00001   <age>"),
		Entry("with a canary",
			[]v1beta1.TrafficTarget{
				{LatestRevision: new(true), Percent: new(int64(10)), RevisionName: canary},
				{LatestRevision: new(false), Percent: new(int64(90)), RevisionName: stable, Tag: "prev"},
			},
			"NAME           URL                                           READY   PREV   LATEST   PREVROLLEDOUTREVISION          LATESTREADYREVISION            AGE",
			"sklearn-iris   http://sklearn-iris.kserve-test.example.com   True    90     10       sklearn-iris-predictor-00001   sklearn-iris-predictor-00002   <age>"),
		Entry("rolled back",
			[]v1beta1.TrafficTarget{
				{LatestRevision: new(true), Percent: new(int64(0)), RevisionName: canary},
				{LatestRevision: new(false), Percent: new(int64(100)), RevisionName: stable, Tag: "prev"},
			},
			"NAME           URL                                           READY   PREV   LATEST   PREVROLLEDOUTREVISION          LATESTREADYREVISION            AGE",
			"sklearn-iris   http://sklearn-iris.kserve-test.example.com   True    100    0        sklearn-iris-predictor-00001   sklearn-iris-predictor-00002   <age>"),
	)

	It("of a serving runtime show its model formats", func() {
		run("apply", "-f", "testdata/accepted/serving-runtimes.yaml", "--namespace", "default")
		DeferCleanup(func() { run("delete", "-f", "testdata/accepted/serving-runtimes.yaml", "--namespace", "default") })

		lines := strings.Split(run("get", "clusterservingruntimes"), "\n")
		Expect(strings.Fields(lines[0])).To(Equal([]string{"NAME", "DISABLED", "MODELTYPE", "CONTAINERS", "AGE"}))
		Expect(strings.Fields(lines[1])[:4]).To(Equal([]string{"kserve-mlserver", "true", "sklearn", "kserve-container"}))
	})

	It("of policies show the bake, and the short names work", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		spec := canaryv1alpha1.CanaryPolicySpec{Steps: []canaryv1alpha1.Step{{Percent: 0}, {Percent: 10}, {Percent: 50}}, Bake: "1h"}
		namespaced := &canaryv1alpha1.CanaryPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "standard"}, Spec: spec}
		clusterWide := &canaryv1alpha1.ClusterCanaryPolicy{ObjectMeta: metav1.ObjectMeta{Name: "standard"}, Spec: spec}
		Expect(api.Create(ctx, namespaced)).To(Succeed())
		Expect(api.Create(ctx, clusterWide)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) error { return api.Delete(ctx, clusterWide) })

		for _, args := range [][]string{{"get", "canpol", "-n", namespace}, {"get", "ccanpol"}} {
			lines := strings.Split(run(args...), "\n")
			Expect(strings.Fields(lines[0])).To(Equal([]string{"NAME", "BAKE", "AGE"}))
			Expect(lines[1]).To(MatchRegexp(`^standard +1h +`))
		}
	})

	It("of a ScaleTarget show its replicas, and kubectl scale works", func(ctx SpecContext) {
		target := &scalingv1alpha1.ScaleTarget{
			ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(ctx), Name: "sklearn-iris-predictor"},
			Spec:       scalingv1alpha1.ScaleTargetSpec{Replicas: 1},
		}
		Expect(api.Create(ctx, target)).To(Succeed())
		target.Status = scalingv1alpha1.ScaleTargetStatus{Replicas: new(int32(0)), Selector: "a=b", RevisionName: stable}
		Expect(api.Status().Update(ctx, target)).To(Succeed())
		run("scale", "scaletarget", "-n", target.Namespace, target.Name, "--replicas=4")

		lines := strings.Split(run("get", "scaletargets", "-n", target.Namespace), "\n")
		Expect(strings.Fields(lines[0])).To(Equal([]string{"NAME", "DESIRED", "CURRENT", "REVISION", "AGE"}))
		Expect(strings.Fields(lines[1])[:4]).To(Equal([]string{target.Name, "4", "0", stable}))

		target.Name, target.ResourceVersion, target.Spec.Replicas = "negative", "", -1
		Expect(api.Create(ctx, target)).To(MatchError(ContainSubstring("spec.replicas")))
	})
})

// create creates an InferenceService. If traffic is not nil, it also sets a status with this
// traffic.
func create(ctx SpecContext, namespace string, traffic []v1beta1.TrafficTarget) {
	GinkgoHelper()
	isvc := &v1beta1.InferenceService{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "sklearn-iris"},
		Spec: v1beta1.InferenceServiceSpec{Predictor: v1beta1.PredictorSpec{
			Model: &v1beta1.ModelSpec{ModelFormat: v1beta1.ModelFormat{Name: "sklearn"}},
		}},
	}
	Expect(api.Create(ctx, isvc)).To(Succeed())
	if traffic == nil {
		return
	}
	isvc.Status = v1beta1.InferenceServiceStatus{
		ObservedGeneration: isvc.Generation,
		URL:                url,
		Phase:              v1beta1.PhaseStable,
		Conditions: []metav1.Condition{{
			Type: v1beta1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Serving", LastTransitionTime: metav1.Now(),
		}},
		Components: map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{
			v1beta1.PredictorComponent: {Traffic: traffic},
		},
		ModelStatus: &v1beta1.ModelStatus{
			TransitionStatus:    v1beta1.UpToDate,
			ModelRevisionStates: &v1beta1.ModelRevisionStates{ActiveModelState: v1beta1.Loaded},
			ModelCopies:         &v1beta1.ModelCopies{TotalCopies: 1},
		},
	}
	Expect(api.Status().Update(ctx, isvc)).To(Succeed())
}

func table(ctx SpecContext, namespace string) metav1.Table {
	GinkgoHelper()
	clients, err := kubernetes.NewForConfig(server.Config)
	Expect(err).NotTo(HaveOccurred())
	body, err := clients.Discovery().RESTClient().Get().
		AbsPath("apis", v1beta1.GroupVersion.Group, v1beta1.GroupVersion.Version, "namespaces", namespace, "inferenceservices").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").
		DoRaw(ctx)
	Expect(err).NotTo(HaveOccurred())

	var result metav1.Table
	Expect(json.Unmarshal(body, &result)).To(Succeed())
	Expect(result.Kind).To(Equal("Table"))
	return result
}
