// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

var s3Keys = []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}

// listSecrets makes the ServiceAccount list these Secrets.
func (o *operator) listSecrets(account string, secrets ...string) {
	o.t.Helper()
	found := serviceAccount(account, secrets...)
	if err := o.server.Create(o.t.Context(), found); apierrors.IsAlreadyExists(err) {
		o.must(o.server.Update(o.t.Context(), found))
	} else {
		o.must(err)
	}
}

func (o *operator) downloadOf(n rollout.Number) *predictor.Download {
	o.t.Helper()
	return predictor.DownloadOf(o.backend.recorded[n].Template)
}

// reconcileChangedCredentials runs the check of every [credentialsPeriod] and reconciles the
// InferenceService that it returns.
func (o *operator) reconcileChangedCredentials() {
	o.t.Helper()
	if changed := o.changedCredentials(); len(changed) != 1 {
		o.t.Fatalf("changed credentials are reported for %v", changed)
	}
	o.settle()
	if changed := o.changedCredentials(); len(changed) != 0 {
		o.t.Errorf("changed credentials are still reported for %v", changed)
	}
}

func (o *operator) changedCredentials() []types.NamespacedName {
	o.t.Helper()
	changed, err := o.reconciler.changedCredentials(o.t.Context())
	o.must(err)
	return changed
}

// TestUnchangedCredentials checks that there is one request for each Secret and ServiceAccount, and
// no reconciliation.
func TestUnchangedCredentials(t *testing.T) {
	o := newOperator(t, withDownload("runner"))
	o.must(o.server.Create(t.Context(), secret("store", s3Keys...)))
	o.listSecrets("runner", "store")
	o.settle()
	const others = 20
	own := types.NamespacedName{Namespace: "kserve-test", Name: "sklearn-iris"}
	for i := range others {
		another := o.isvc()
		another.ObjectMeta = metav1.ObjectMeta{Namespace: own.Namespace, Name: fmt.Sprintf("%s-%d", own.Name, i)}
		o.must(o.server.Create(t.Context(), another))
		o.reconciler.credentialVersions.replace(client.ObjectKeyFromObject(another), o.reconciler.credentialVersions.all[own])
	}
	requests := 0
	o.reconciler.APIReader = interceptor.NewClient(o.server, interceptor.Funcs{Get: func(
		ctx context.Context, server client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption,
	) error {
		requests++
		if _, metadata := object.(*metav1.PartialObjectMetadata); !metadata {
			t.Errorf("the data of %s is read", key)
		}
		return server.Get(ctx, key, object, options...)
	}})
	if changed := o.changedCredentials(); len(changed) != 0 || requests != 2 {
		t.Errorf("%d requests; changed credentials are reported for %v", requests, changed)
	}
	o.must(o.server.Delete(t.Context(), secret("store")))
	if changed := o.changedCredentials(); len(changed) != others+1 {
		t.Errorf("the deleted Secret is reported for %v", changed)
	}
	o.must(o.server.Delete(t.Context(), o.isvc()))
	if changed := o.changedCredentials(); len(changed) != others {
		t.Errorf("after the deletion of an InferenceService, changed credentials are reported for %v", changed)
	}
}

// TestTargetTakesLaterCredentials checks that a target that has never been ready takes new
// credentials without a new revision.
func TestTargetTakesLaterCredentials(t *testing.T) {
	wrong, right := secret("store", s3Keys...), secret("store", s3Keys...)
	wrong.Annotations = map[string]string{"serving.kserve.io/s3-endpoint": "wrong:9000"}
	right.Annotations = map[string]string{"serving.kserve.io/s3-endpoint": "right:9000"}
	for name, test := range map[string]struct {
		given, later []client.Object
		want         string
	}{
		"a Secret that is added to the account": {
			[]client.Object{serviceAccount("runner")}, []client.Object{right, serviceAccount("runner", "store")}, "https://right:9000",
		},
		"a Secret that is corrected": {
			[]client.Object{wrong, serviceAccount("runner", "store")}, []client.Object{right}, "https://right:9000",
		},
		"a Secret that is taken away": {
			[]client.Object{wrong, serviceAccount("runner", "store")}, []client.Object{serviceAccount("runner")}, "",
		},
	} {
		for _, percent := range []*int64{nil, new(int64(10))} {
			t.Run(name, func(t *testing.T) {
				o := newOperator(t)
				for _, object := range test.given {
					o.must(o.server.Create(t.Context(), object.DeepCopyObject().(client.Object)))
				}
				target := rollout.Number(1)
				if percent != nil {
					o.settle()
					target = 2
				}
				o.backend.failing[target] = nil
				o.edit(func(isvc *v1beta1.InferenceService) {
					withDownload("runner")(isvc)
					isvc.Spec.Predictor.CanaryTrafficPercent = percent
				})
				o.settle()
				for _, object := range test.later {
					object := object.DeepCopyObject().(client.Object)
					if err := o.server.Create(t.Context(), object); apierrors.IsAlreadyExists(err) {
						object.SetResourceVersion("")
						err = o.server.Update(t.Context(), object)
						o.must(err)
					} else {
						o.must(err)
					}
				}
				o.reconcileChangedCredentials()
				endpoint := ""
				for _, variable := range o.downloadOf(target).Env {
					if variable.Name == "AWS_ENDPOINT_URL" {
						endpoint = variable.Value
					}
				}
				if endpoint != test.want || len(o.backend.revisions) != int(target) {
					t.Errorf("the endpoint is %q, want %q; %d revisions", endpoint, test.want, len(o.backend.revisions))
				}
				if amended := len(o.backend.amended); amended != 1 {
					t.Errorf("the revision is amended %d times", amended)
				}
			})
		}
	}
}

// TestRotatedCredentials checks that a revision that has served keeps its credentials, and that the
// status has the command that creates a revision with the new ones.
func TestRotatedCredentials(t *testing.T) {
	const command = `kubectl patch inferenceservice -n kserve-test sklearn-iris --type=merge -p '{"spec":{"predictor":{"annotations":{"serinus.io/credentials":"s3-2026"}}}}'`
	for name, test := range map[string]struct {
		gone   bool
		status metav1.ConditionStatus
		reason string
		want   string
	}{
		"and the old ones are deleted": {true, metav1.ConditionFalse, "CredentialsGone", `sklearn-iris-predictor-00001 refers to Secret "s3-2025", which does not exist`},
		"and the old ones stay":        {false, metav1.ConditionTrue, "CredentialsChanged", `ServiceAccount "runner" lists Secret s3-2026 for storage, and sklearn-iris-predictor-00001 refers to Secret s3-2025`},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t, withDownload("runner"))
			o.must(o.server.Create(t.Context(), secret("s3-2025", s3Keys...)))
			o.listSecrets("runner", "s3-2025")
			o.settle()
			if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue {
				t.Fatalf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
			}
			o.must(o.server.Create(t.Context(), secret("s3-2026", s3Keys...)))
			o.listSecrets("runner", "s3-2026")
			if test.gone {
				o.must(o.server.Delete(t.Context(), secret("s3-2025")))
			}
			o.reconcileChangedCredentials()
			got := o.condition(v1beta1.ConditionPredictorReady)
			if got.Status != test.status || got.Reason != test.reason || !strings.Contains(got.Message, test.want) || !strings.Contains(got.Message, command) {
				t.Errorf("PredictorReady is %s (%s): %s", got.Status, got.Reason, got.Message)
			}
			if ready := o.condition(v1beta1.ConditionReady); ready.Status != test.status {
				t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
			}
			if len(o.backend.amended) > 0 || len(o.backend.revisions) != 1 {
				t.Errorf("a revision that has served was amended: %v, %d revisions", o.backend.amended, len(o.backend.revisions))
			}
			writes := o.statusWrites
			o.settle()
			if o.statusWrites != writes {
				t.Error("the status is written twice")
			}

			o.edit(func(isvc *v1beta1.InferenceService) {
				isvc.Spec.Predictor.Annotations = map[string]string{v1beta1.AnnotationCredentials: "s3-2026"}
			})
			o.settle()
			ready := o.condition(v1beta1.ConditionPredictorReady)
			if used := o.downloadOf(2).Secrets(); len(used) != 1 || used[0] != "s3-2026" || ready.Status != metav1.ConditionTrue || ready.Reason != "Ready" {
				t.Errorf("the new revision uses %v; PredictorReady is %s (%s): %s", used, ready.Status, ready.Reason, ready.Message)
			}
		})
	}
}

// TestUnreadableCredentials checks that a running revision does not need the permission.
func TestUnreadableCredentials(t *testing.T) {
	o := newOperator(t, withDownload("runner"))
	o.must(o.server.Create(t.Context(), secret("minio", s3Keys...)))
	o.listSecrets("runner", "minio")
	o.settle()
	o.reconciler.APIReader = interceptor.NewClient(o.server, interceptor.Funcs{
		Get: func(ctx context.Context, server client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if _, whole := object.(*corev1.Secret); whole || object.GetObjectKind().GroupVersionKind().Kind == kindSecret {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, key.Name, nil)
			}
			return server.Get(ctx, key, object, options...)
		},
	})
	o.reconcileChangedCredentials()
	if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue {
		t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
	}
}

// TestUserSpecIsKept also covers a revision of the operator's first version, which gets the spec
// after the next change.
func TestUserSpecIsKept(t *testing.T) {
	o := newOperator(t, withDownload(""), testkit.Annotation(predictor.AnnotationChangeCause, "the first"))
	o.settle()
	user := o.backend.recorded[1].User
	if user == nil || user.ModelURI != "s3://models/iris" || user.ChangeCause != "the first" {
		t.Fatalf("the user's spec is %+v", user)
	}
	var written v1beta1.PredictorSpec
	if err := json.Unmarshal(user.Predictor, &written); err != nil || written.Containers[0].Image != "v1" {
		t.Errorf("the user's spec is %s (%v)", user.Predictor, err)
	}

	old := o.backend.recorded[1]
	old.User = nil
	o.backend.recorded[1] = old
	o.settle()
	if len(o.backend.amended) > 0 {
		t.Fatal("an upgrade alone amends a revision")
	}
	o.edit(func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.MinReplicas = new(int32(1)) })
	o.settle()
	o.reconcile()
	if len(o.backend.amended) != 1 || o.backend.recorded[1].User == nil {
		t.Errorf("the revision is amended %d times, and the user's spec is %v", len(o.backend.amended), o.backend.recorded[1].User)
	}
}

// TestFindingsAreReported checks that findings show in their conditions and do not affect Ready.
func TestFindingsAreReported(t *testing.T) {
	o := newOperator(t)
	o.backend.findings = []backend.Finding{
		{Condition: v1beta1.ConditionIngressReady, Reason: "ServiceMissing", Message: "there is no Service: the quota is used up"},
		{Condition: v1beta1.ConditionPredictorReady, Reason: "TargetMissing", Message: "there is no ScaleTarget: it is left alone"},
	}
	o.settle()
	for _, finding := range o.backend.findings {
		got := o.condition(finding.Condition)
		if got.Status != metav1.ConditionTrue || got.Reason != finding.Reason || !strings.Contains(got.Message, finding.Message) {
			t.Errorf("%s is %s (%s): %s", finding.Condition, got.Status, got.Reason, got.Message)
		}
	}
	if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue {
		t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
	}
	if after := o.reconcile().RequeueAfter; after == 0 || after > recheckPeriod+time.Second {
		t.Errorf("RequeueAfter is %s", after)
	}
	o.backend.findings = nil
	o.settle()
	if got := o.condition(v1beta1.ConditionIngressReady); strings.Contains(got.Message, "quota") {
		t.Errorf("IngressReady is %s (%s): %s", got.Status, got.Reason, got.Message)
	}
}
