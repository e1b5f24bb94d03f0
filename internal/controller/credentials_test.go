// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// withDownload returns a change that makes the model a download under a service account.
func withDownload(account string) func(*v1beta1.InferenceService) {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.ServiceAccountName = account
		isvc.Spec.Predictor.Containers[0].Env = []corev1.EnvVar{{Name: "STORAGE_URI", Value: "s3://models/iris"}}
	}
}

func serviceAccount(name string, secrets ...string) *corev1.ServiceAccount {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "kserve-test", Name: name}}
	for _, secret := range secrets {
		account.Secrets = append(account.Secrets, corev1.ObjectReference{Name: secret})
	}
	return account
}

func secret(name string, keys ...string) *corev1.Secret {
	result := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kserve-test", Name: name}, Data: map[string][]byte{}}
	for _, key := range keys {
		result.Data[key] = []byte(`{"type": "s3", "bucket": "models"}`)
	}
	return result
}

// TestMissingCredentials checks that no revision is created without its credentials. They are not
// watched, so they are checked again.
func TestMissingCredentials(t *testing.T) {
	storage := func(key string) func(*v1beta1.InferenceService) {
		return func(isvc *v1beta1.InferenceService) {
			withFormat("sklearn")(isvc)
			isvc.Spec.Predictor.Model.Storage = &v1beta1.StorageSpec{Path: new("iris"), StorageKey: &key}
		}
	}
	for name, test := range map[string]struct {
		change     func(*v1beta1.InferenceService)
		given      []client.Object
		wantReason string
		want       string // A part of the message.
		missing    client.Object
	}{
		"the service account": {
			change: withDownload("runner"), wantReason: "CredentialsNotFound",
			want:    `spec.predictor.serviceAccountName: there is no ServiceAccount "runner" in namespace kserve-test; create it, or name another (the operator looks again every 30s)`,
			missing: serviceAccount("runner"),
		},
		"a secret that it lists": {
			change: withDownload("runner"), given: []client.Object{serviceAccount("runner", "minio")}, wantReason: "CredentialsNotFound",
			want: `ServiceAccount "runner" lists Secret "minio", and there is no such Secret in namespace kserve-test; ` +
				`create it, or take it out of the ServiceAccount's secrets (the operator looks again every 30s)`,
			missing: secret("minio", "AWS_SECRET_ACCESS_KEY"),
		},
		"a secret that the default one lists": {
			change: withDownload(""), given: []client.Object{serviceAccount("default", "minio")}, wantReason: "CredentialsNotFound",
			want: `ServiceAccount "default" lists Secret "minio"`, missing: secret("minio"),
		},
		"a secret that an annotation names": {
			change: func(isvc *v1beta1.InferenceService) {
				withDownload("")(isvc)
				testkit.Annotation(v1beta1.AnnotationStorageSecretName, "minio")(isvc)
			},
			wantReason: "InvalidPredictorSpec", want: `"minio": there is no such secret`, missing: secret("minio"),
		},
		"the secret of a storage spec": {
			change: storage("minio"), wantReason: "InvalidPredictorSpec", want: "there is no secret storage-config", missing: secret("storage-config", "minio"),
		},
		"a key of that secret": {
			change: storage("minio"), given: []client.Object{secret("storage-config", "other")}, wantReason: "InvalidPredictorSpec",
			want: `"minio" is not a key of secret storage-config; its keys are other`, missing: secret("storage-config", "minio"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			o.must(o.server.Create(t.Context(), sklearn("server:1")))
			for _, object := range test.given {
				o.must(o.server.Create(t.Context(), object))
			}
			o.settle()
			o.edit(test.change)
			if result := o.reconcile(); result.RequeueAfter != afterRecheck {
				t.Errorf("RequeueAfter is %v, want %v", result.RequeueAfter, afterRecheck)
			}
			ready := o.condition(v1beta1.ConditionReady)
			if ready.Status != metav1.ConditionFalse || ready.Reason != test.wantReason || !strings.Contains(ready.Message, test.want) {
				t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
			}
			if got, want := o.backend.state.Split, rollout.All(1); !got.Equal(want) || len(o.backend.revisions) != 1 {
				t.Errorf("%d revisions, and the split is %v", len(o.backend.revisions), got)
			}

			if err := o.server.Create(t.Context(), test.missing); apierrors.IsAlreadyExists(err) {
				o.must(o.server.Update(t.Context(), test.missing))
			} else {
				o.must(err)
			}
			o.settle()
			if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue || len(o.backend.revisions) != 2 {
				t.Errorf("after the missing object is created, %d revisions; Ready is %s (%s): %s", len(o.backend.revisions), ready.Status, ready.Reason, ready.Message)
			}
		})
	}
}

func TestOptionalCredentials(t *testing.T) {
	for name, test := range map[string]struct {
		account string
		given   []client.Object
	}{
		"the default service account": {},
		"generated Secrets of a platform": {
			account: "runner", given: []client.Object{serviceAccount("runner", "runner-token-x1", "runner-dockercfg-y2")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t, withDownload(test.account))
			for _, object := range test.given {
				o.must(o.server.Create(t.Context(), object))
			}
			o.settle()
			if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue {
				t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
			}
		})
	}
}

// TestUnreadableSecretMessageNamesTheServiceAccount checks that the command in the message names
// the installed ServiceAccount.
func TestUnreadableSecretMessageNamesTheServiceAccount(t *testing.T) {
	for _, test := range []struct {
		account Account
		want    string
	}{
		{AccountOr("", ""), "--serviceaccount=serinus-system:serinus-controller-manager"},
		{AccountOr("models", "canary"), "--serviceaccount=models:canary"},
	} {
		o := newOperator(t, withDownload("runner"))
		o.must(o.server.Create(t.Context(), serviceAccount("runner", "minio")))
		o.reconciler.Account = test.account
		o.reconciler.APIReader = interceptor.NewClient(o.server, interceptor.Funcs{
			Get: func(ctx context.Context, server client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
				if _, ok := object.(*corev1.Secret); ok {
					return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, key.Name, nil)
				}
				return server.Get(ctx, key, object, options...)
			},
		})
		if result := o.reconcile(); result.RequeueAfter != afterRecheck {
			t.Errorf("RequeueAfter is %v, want %v", result.RequeueAfter, afterRecheck)
		}
		if ready := o.condition(v1beta1.ConditionReady); ready.Reason != "CredentialsNotReadable" || !strings.HasSuffix(ready.Message, test.want) {
			t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
		}
	}
}
