// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/testkit"
)

// refusal describes how the operator reports that it cannot act on a spec.
type refusal struct {
	condition, reason, message string
	// failure is the failure reason in modelStatus, or empty if the spec is valid.
	failure v1beta1.FailureReason
}

func invalidSpec(reason, message string) refusal {
	return refusal{
		condition: v1beta1.ConditionPredictorReady, reason: reason, message: message, failure: v1beta1.InvalidPredictorSpec,
	}
}

// noRuntime returns the refusal of a spec without a usable serving runtime.
func noRuntime(reason v1beta1.FailureReason, message string) refusal {
	return refusal{condition: v1beta1.ConditionPredictorReady, reason: string(reason), message: message, failure: reason}
}

// The columns PREV, LATEST, PREVROLLEDOUTREVISION and LATESTREADYREVISION of a canary with 10 %,
// and of a service that was never ready.
var (
	afterCanary  = [4]string{"90", "10", revision(1), revision(2)}
	afterNothing [4]string
)

// awaitRefusal waits for the conditions of a refusal with the given columns, for one event, and for
// the end of the operator's writes.
func (s *scenario) awaitRefusal(printed [4]string, want refusal) {
	GinkgoHelper()
	s.awaitColumns("False", printed[0], printed[1], printed[2], printed[3])
	matcher := BeCondition(metav1.ConditionFalse, want.reason, want.message)
	s.awaitCondition(want.condition, matcher)
	s.awaitCondition(v1beta1.ConditionReady, matcher)
	if want.failure != "" {
		s.awaitModelStatus(SatisfyAll(
			HaveField("TransitionStatus", v1beta1.InvalidSpec),
			HaveField("LastFailureInfo", HaveValue(SatisfyAll(
				HaveField("Reason", want.failure), HaveField("Message", ContainSubstring(want.message)))))))
	}
	// Work that a refusal does not block, such as the pods of a new revision, may still cause
	// writes.
	Eventually(s.operator.wire.Idle).Should(BeNumerically(">", 800*time.Millisecond), "the operator keeps writing")
	s.awaitEvent(want.reason)
}

// expectNoWrites expects no writes of the operator for half a second.
func (s *scenario) expectNoWrites() {
	GinkgoHelper()
	before := s.operator.wire.Writes()
	Consistently(func() []string { return s.writesSince(len(before)) }).WithTimeout(500 * time.Millisecond).Should(BeEmpty())
}

func (s *scenario) writesSince(first int) []string {
	var writes []string
	for _, write := range s.operator.wire.Writes()[first:] {
		writes = append(writes, write.String())
	}
	return writes
}

func (s *scenario) setUpCanary(also ...testkit.Edit) {
	GinkgoHelper()
	s.apply(append([]testkit.Edit{model(1)}, also...)...)
	s.awaitColumns("True", "", "100", "", revision(1))
	s.apply(append([]testkit.Edit{model(2), percent(10)}, also...)...)
	s.awaitColumns("True", "90", "10", revision(1), revision(2))
	s.awaitSettled()
}

func changeModel(change func(*v1beta1.ModelSpec)) testkit.Edit {
	return func(isvc *v1beta1.InferenceService) { change(isvc.Spec.Predictor.Model) }
}

func withRuntime(name string) testkit.Edit {
	return changeModel(func(model *v1beta1.ModelSpec) { model.Runtime = &name })
}

func withStorageURI(uri string) testkit.Edit {
	return changeModel(func(model *v1beta1.ModelSpec) { model.StorageURI = &uri })
}

// badSpecs pass admission, and the operator refuses them.
var badSpecs = map[string]struct {
	option testkit.Edit
	want   refusal
}{
	"an unknown model format": {
		changeModel(func(model *v1beta1.ModelSpec) { model.ModelFormat.Name = "no-such-format" }),
		noRuntime(v1beta1.NoSupportingRuntime, "or install a serving runtime for no-such-format"),
	},
	"an unsupported version of a format": {
		changeModel(func(model *v1beta1.ModelSpec) { model.ModelFormat.Version = new("99") }),
		noRuntime(v1beta1.NoSupportingRuntime, "modelFormat.version"),
	},
	"an unknown runtime": {
		withRuntime("no-such-runtime"),
		noRuntime(v1beta1.RuntimeNotRecognized, `spec.predictor.model.runtime: "no-such-runtime" is neither a ServingRuntime in namespace NAMESPACE nor a ClusterServingRuntime; write kserve-`),
	},
	"a runtime for another format": {
		withRuntime("kserve-xgbserver"),
		noRuntime(v1beta1.NoSupportingRuntime, "name a runtime that serves it, or remove the field to have a runtime picked"),
	},
	"a protocol that the runtime does not support": {
		changeModel(func(model *v1beta1.ModelSpec) { model.ProtocolVersion = new(v1beta1.ProtocolGRPCV2) }),
		noRuntime(v1beta1.NoSupportingRuntime, "write model.protocolVersion: "),
	},
	"an unsupported storage scheme": {
		withStorageURI("ftp://models/iris"),
		invalidSpec("InvalidPredictorSpec", `"ftp://models/iris": storage ftp:// is not supported; write one of gs://`),
	},
	"a storage URI without slashes": {
		withStorageURI("s3:models/iris"), invalidSpec("InvalidPredictorSpec", "write s3://"),
	},
	"an unknown deployment mode": {
		annotation(v1beta1.AnnotationDeploymentMode, "Fast"),
		invalidSpec("DeploymentModeNotSupported", "is not supported; write Standard or Knative, or remove the annotation"),
	},
	"a change of the deployment mode": {
		annotation(v1beta1.AnnotationDeploymentMode, "Knative"),
		invalidSpec("DeploymentModeChanged", "cannot change from Standard to Knative; write Standard or remove the annotation"),
	},
	"a malformed enable-tag-routing annotation": {
		annotation(v1beta1.AnnotationEnableTagRouting, "yes"), invalidSpec("InvalidPredictorSpec", `"yes": write "true" or "false"`),
	},
	"a malformed stop annotation": {
		annotation(v1beta1.AnnotationStop, "maybe"), invalidSpec("InvalidPredictorSpec", `"maybe": write "true" or "false"`),
	},
	"an unsupported autoscaler class": {
		annotation(v1beta1.AnnotationAutoscalerClass, "keda"), invalidSpec("InvalidPredictorSpec", `"keda": write hpa, external or none`),
	},
	"an unknown metric": {
		annotation(v1beta1.AnnotationMetrics, "latency"), invalidSpec("InvalidPredictorSpec", `"latency": write cpu, memory`),
	},
	"a metric that is not supported in Standard mode": {
		annotation(v1beta1.AnnotationMetrics, "rps"), invalidSpec("InvalidPredictorSpec", `"rps": nothing in Standard mode counts requests; write cpu or memory`),
	},
	"a malformed targetUtilizationPercentage": {
		annotation(v1beta1.AnnotationTargetUtilizationPercentage, "a lot"), invalidSpec("InvalidPredictorSpec", `"a lot": write a whole number from 1 to 100`),
	},
	"an invalid label for pods": {
		func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.Labels = map[string]string{"team": "not a value"}
		},
		invalidSpec("InvalidPredictorSpec", `"not a value": pods cannot have it`),
	},
}

var _ = Describe("an invalid spec", func() {
	It("moves no traffic during a canary, is reported with a fix, and has no effect after it is fixed", func(ctx SpecContext) {
		var variants []variant
		for name, bad := range badSpecs {
			variants = append(variants, variant{name: name, body: func(s *scenario) {
				s.setUpCanary()
				want := bad.want
				want.message = strings.ReplaceAll(want.message, "NAMESPACE", s.namespace)
				before := len(s.operator.wire.Writes())
				// The percent of a refused spec must have no effect either.
				s.apply(model(2), percent(50), bad.option)
				s.awaitRefusal(afterCanary, want)
				Expect(s.writesSince(before)).To(HaveEach("patch inferenceservices/status " + iris))
				s.awaitSplit("2:10 1:90")
				s.restartOperator()
				s.awaitRefusal(afterCanary, want)
				Expect(s.writesSince(0)).To(BeEmpty(), "after a restart")

				s.apply(model(2), percent(10))
				s.awaitColumns("True", "90", "10", revision(1), revision(2))
				s.awaitModelStatus(SatisfyAll(HaveField("TransitionStatus", v1beta1.UpToDate), HaveField("LastFailureInfo", BeNil())))
				Expect(s.revisionHistory()).To(ConsistOf(revision(1), revision(2)))
				s.awaitSplitHistory("1:100", "2:10 1:90")
			}})
		}
		runAll(ctx, variants)
	})

	It("starts nothing as the first spec, and is deployed after it is fixed", func(ctx SpecContext) {
		var variants []variant
		for name, bad := range badSpecs {
			if bad.want.reason == "DeploymentModeChanged" {
				continue // Without a revision there is no mode to change from.
			}
			variants = append(variants, variant{name: name, body: func(s *scenario) {
				want := bad.want
				want.message = strings.ReplaceAll(want.message, "NAMESPACE", s.namespace)
				s.apply(model(1), percent(50), bad.option)
				s.awaitRefusal(afterNothing, want)
				Expect(s.writesSince(0)).To(Equal([]string{"patch inferenceservices/status " + iris}))
				s.apply(model(1))
				s.awaitColumns("True", "", "100", "", revision(1))
				s.awaitSplitHistory("1:100")
			}})
		}
		runAll(ctx, variants)
	})

	It("leaves the setting that a malformed annotation would change as it was", func(ctx SpecContext) {
		runAll(ctx, []variant{{name: "stop", body: func(s *scenario) {
			s.setUpCanary()
			s.apply(model(2), percent(10), withStop)
			s.awaitColumns("False", "", "", "", "")
			s.awaitSplit("none")
			s.awaitRunning()
			s.apply(model(2), percent(10), annotation(v1beta1.AnnotationStop, "ture"))
			s.awaitCondition(v1beta1.ConditionStopped, BeCondition(metav1.ConditionTrue, "Stopped", ""))
			s.awaitModelStatus(HaveField("LastFailureInfo", HaveValue(HaveField("Message", ContainSubstring(`"ture"`)))))
			s.awaitSettled()
			s.awaitSplit("none")
			s.awaitRunning()
			s.apply(model(2), percent(10))
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			Expect(s.revisionHistory()).To(ConsistOf(revision(1), revision(2)))
		}}, {name: "enable-tag-routing", body: func(s *scenario) {
			hosts := map[string]string{"latest": "2:100", "prev": "1:100"}
			s.setUpCanary(withTagRouting)
			s.awaitTags(hosts)
			s.apply(model(2), percent(10), annotation(v1beta1.AnnotationEnableTagRouting, "ture"))
			s.awaitRefusal(afterCanary, invalidSpec("InvalidPredictorSpec", `"ture"`))
			s.awaitTags(hosts)
			s.apply(model(2), percent(10), withTagRouting)
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			s.awaitSplitHistory("1:100", "2:10 1:90")
		}}, {name: "autoscalerClass", body: func(s *scenario) {
			s.setUpCanary(replicaBounds(1, 3))
			before, err := s.snapshot()
			Expect(err).NotTo(HaveOccurred())
			s.apply(model(2), percent(10), replicaBounds(1, 3), annotation(v1beta1.AnnotationAutoscalerClass, "hpq"))
			s.awaitRefusal(afterCanary, invalidSpec("InvalidPredictorSpec", `"hpq"`))
			s.apply(model(2), percent(10), replicaBounds(1, 3))
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			s.awaitSnapshot(before, "after it was fixed")
			Expect(s.writesSince(0)).NotTo(ContainElement(ContainSubstring("delete")))
		}}})
	})

	It("is refused if a host name is too long for DNS", func(ctx SpecContext) {
		s := startScenario(ctx, func(cfg *config.Config) { cfg.Ingress.Domain = strings.Repeat("a-long-domain.", 16) + "example.com" })
		s.apply(model(1))
		s.awaitRefusal(afterNothing, refusal{
			condition: v1beta1.ConditionIngressReady, reason: "HostNameInvalid", failure: v1beta1.InvalidPredictorSpec,
			message: "give the InferenceService, or its namespace, a shorter name",
		})
		s.awaitRunning()
	})
})

var _ = Describe("a spec that the API server rejects", func() {
	const predictor = `{"spec":{"predictor":%s}}`
	longName := strings.Repeat("a", 47)

	It("is not stored and has no effect", func(ctx SpecContext) {
		s := startCanary(ctx)
		s.awaitSettled()
		versions, writes := s.resourceVersions(), len(s.operator.wire.Writes())
		before, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		for patch, message := range map[string]string{
			fmt.Sprintf(predictor, `{"canaryTrafficPercent":-1}`):                                          "canaryTrafficPercent",
			fmt.Sprintf(predictor, `{"canaryTrafficPercent":101}`):                                         "canaryTrafficPercent",
			fmt.Sprintf(predictor, `{"canaryTrafficPercent":"ten"}`):                                       "canaryTrafficPercent",
			fmt.Sprintf(predictor, `{"canaryTrafficPercent":2.5}`):                                         "canaryTrafficPercent",
			fmt.Sprintf(predictor, `{"containers":[{"name":"kserve-container","image":"example.com/x"}]}`): "spec.predictor",
			fmt.Sprintf(predictor, `{"model":null}`):                                                       "spec.predictor",
			fmt.Sprintf(predictor, `{"minReplicas":3,"maxReplicas":2}`):                                    "maxReplicas",
			fmt.Sprintf(predictor, `{"minReplicas":-1}`):                                                   "minReplicas",
			fmt.Sprintf(predictor, `{"maxReplicas":-1}`):                                                   "maxReplicas",
			fmt.Sprintf(predictor, `{"batcher":{"maxBatchSize":8}}`):                                       "batcher",
			fmt.Sprintf(predictor, `{"logger":{"mode":"all"}}`):                                            "logger",
			fmt.Sprintf(predictor, `{"workerSpec":{}}`):                                                    "workerSpec",
			`{"spec":{"transformer":{"containers":[]}}}`:                                                   "transformer is not supported",
			`{"spec":{"explainer":{}}}`:                                                                    "explainer is not supported",
			`{"spec":{"canary":[{"trafficPercent":10}]}}`:                                                  "canary is not supported: change predictor to the new version and set predictor.canaryTrafficPercent",
		} {
			err := api.Patch(ctx, before.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)))
			Expect(err).To(MatchError(ContainSubstring(message)), patch)
			Expect(err).To(Satisfy(apierrors.IsInvalid), patch)
		}
		named := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: longName}}
		model(1)(named)
		Expect(api.Create(ctx, named)).To(MatchError(ContainSubstring("the name is longer than 46 characters")))

		after, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(after.ResourceVersion).To(Equal(before.ResourceVersion))
		s.expectNoWrites()
		Expect(s.writesSince(writes)).To(BeEmpty())
		Expect(s.resourceVersions()).To(Equal(versions))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
	})
})

func (s *scenario) newServingRuntime() *v1alpha1.ServingRuntime {
	return &v1alpha1.ServingRuntime{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "ours"},
		Spec: v1alpha1.ServingRuntimeSpec{
			SupportedModelFormats: []v1alpha1.SupportedModelFormat{{Name: "sklearn"}},
			ProtocolVersions:      []v1beta1.ProtocolVersion{v1beta1.ProtocolV1, v1beta1.ProtocolV2},
			ServingRuntimePodSpec: v1alpha1.ServingRuntimePodSpec{
				Containers: []corev1.Container{{Name: v1beta1.ServingContainerName, Image: "example.com/server:1"}},
			},
		},
	}
}

func (s *scenario) updateServingRuntime(change func(*v1alpha1.ServingRuntimeSpec)) {
	GinkgoHelper()
	runtime := s.newServingRuntime()
	Expect(api.Get(s.ctx, client.ObjectKeyFromObject(runtime), runtime)).To(Succeed())
	change(&runtime.Spec)
	Expect(api.Update(s.ctx, runtime)).To(Succeed())
}

var _ = Describe("a serving runtime", func() {
	withOurRuntime := withRuntime("ours")
	withProtocolV2 := changeModel(func(model *v1beta1.ModelSpec) { model.ProtocolVersion = new(v1beta1.ProtocolV2) })

	It("that becomes unusable during a canary moves no traffic, permits a rollback if it is missing or disabled, and is used again once it is usable", func(ctx SpecContext) {
		var variants []variant
		for name, how := range map[string]struct {
			damage, repair func(*scenario)
			want           refusal
			// wayBack reports whether the percent takes effect during the refusal.
			wayBack bool
		}{
			"deleted": {
				func(s *scenario) { Expect(api.Delete(ctx, s.newServingRuntime())).To(Succeed()) },
				func(s *scenario) { Expect(api.Create(ctx, s.newServingRuntime())).To(Succeed()) },
				noRuntime(v1beta1.RuntimeNotRecognized, `"ours" is neither a ServingRuntime in namespace`),
				true,
			},
			"disabled": {
				func(s *scenario) {
					s.updateServingRuntime(func(spec *v1alpha1.ServingRuntimeSpec) { spec.Disabled = new(true) })
				},
				func(s *scenario) {
					s.updateServingRuntime(func(spec *v1alpha1.ServingRuntimeSpec) { spec.Disabled = nil })
				},
				noRuntime(v1beta1.RuntimeDisabled, `ServingRuntime "ours" is disabled; have it enabled, or remove the field to have a runtime picked`),
				true,
			},
			"with another protocol": {
				func(s *scenario) {
					s.updateServingRuntime(func(spec *v1alpha1.ServingRuntimeSpec) {
						spec.ProtocolVersions = []v1beta1.ProtocolVersion{v1beta1.ProtocolV1}
					})
				},
				func(s *scenario) {
					s.updateServingRuntime(func(spec *v1alpha1.ServingRuntimeSpec) {
						spec.ProtocolVersions = s.newServingRuntime().Spec.ProtocolVersions
					})
				},
				noRuntime(v1beta1.NoSupportingRuntime, "write model.protocolVersion: v1"),
				false,
			},
		} {
			variants = append(variants, variant{name: name, body: func(s *scenario) {
				Expect(api.Create(ctx, s.newServingRuntime())).To(Succeed())
				s.setUpCanary(withOurRuntime, withProtocolV2)
				before, err := s.snapshot()
				Expect(err).NotTo(HaveOccurred())
				pods, err := s.podUIDs(2)
				Expect(err).NotTo(HaveOccurred())
				how.damage(s)
				s.awaitRefusal(afterCanary, how.want)
				splits := []string{"1:100", "2:10 1:90"}
				if how.wayBack {
					By("rolling back in the meantime")
					s.apply(model(2), percent(0), withOurRuntime, withProtocolV2)
					s.awaitRefusal([4]string{"100", "0", revision(1), revision(2)}, how.want)
					splits = append(splits, "2:0 1:100", "2:10 1:90")
				} else {
					By("raising the percent in the meantime")
					s.apply(model(2), percent(80), withOurRuntime, withProtocolV2)
					s.awaitRefusal(afterCanary, how.want)
				}
				s.apply(model(2), percent(10), withOurRuntime, withProtocolV2)
				s.awaitRefusal(afterCanary, how.want)

				how.repair(s)
				s.awaitColumns("True", "90", "10", revision(1), revision(2))
				s.awaitSnapshot(before, "after it was fixed")
				Expect(s.podUIDs(2)).To(Equal(pods))
				s.awaitSplitHistory(splits...)
			}})
		}
		runAll(ctx, variants)
	})

	It("that does not exist yet can be created later", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.apply(model(1), withOurRuntime)
		s.awaitRefusal(afterNothing, noRuntime(v1beta1.RuntimeNotRecognized, `"ours" is neither`))
		runtime := s.newServingRuntime()
		runtime.Spec.Disabled = new(true)
		Expect(api.Create(ctx, runtime)).To(Succeed())
		s.awaitRefusal(afterNothing, noRuntime(v1beta1.RuntimeDisabled, "is disabled"))
		s.updateServingRuntime(func(spec *v1alpha1.ServingRuntimeSpec) { spec.Disabled = nil })
		s.awaitColumns("True", "", "100", "", revision(1))
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.ServingRuntimeName).To(Equal("ours"))
		events, err := s.events()
		Expect(err).NotTo(HaveOccurred())
		Expect(slices.ContainsFunc(events, func(event string) bool { return strings.HasPrefix(event, "Ready: ") })).To(BeTrue())
	})
})
