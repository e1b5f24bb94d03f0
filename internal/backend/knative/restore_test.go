// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// restore deletes everything and follows the restore procedure in docs/operations.md.
func (u user) restore() {
	u.T.Helper()
	isvc, service := u.isvc(), u.service()
	var records appsv1.ControllerRevisionList
	u.Must(u.server.List(u.T.Context(), &records, client.InNamespace(namespace)))
	for _, kind := range []client.Object{
		&v1beta1.InferenceService{}, &servingv1.Service{}, &servingv1.Revision{}, &appsv1.ControllerRevision{},
		&autoscalingv1alpha1.PodAutoscaler{}, &corev1.Pod{},
	} {
		u.Must(u.server.DeleteAllOf(u.T.Context(), kind, client.InNamespace(namespace)))
	}
	stripped := func(object client.Object, generation int64) client.Object {
		object.SetOwnerReferences(nil)
		object.SetManagedFields(nil)
		object.SetResourceVersion("")
		object.SetUID(u.server.NewUID())
		object.SetGeneration(generation)
		object.SetCreationTimestamp(metav1.NewTime(u.now))
		return object
	}
	service.Status, isvc.Status = servingv1.ServiceStatus{}, v1beta1.InferenceServiceStatus{}
	for i := range records.Items {
		u.Must(u.server.Create(u.T.Context(), stripped(&records.Items[i], 0), client.FieldOwner("kubectl")))
	}
	u.Must(u.server.Create(u.T.Context(), stripped(service, 1), client.FieldOwner("kubectl")))
	u.catchUp() // Knative does not wait for the InferenceService.
	u.Must(u.server.Create(u.T.Context(), stripped(isvc, 1), client.FieldOwner("kubectl")))
	u.restart()
}

func TestRestoreFromBackupKeepsTheSplit(t *testing.T) {
	for name, test := range map[string]struct {
		before  func(u user)
		want    string
		after   func(u user)
		andThen string
	}{
		"of a canary": {
			func(u user) { u.rollOut("v1", promote); u.rollOut("v2", 10) }, "2:10 1:90",
			func(u user) { u.rollOut("v1", promote) }, "1:100",
		},
		"of a canary that was aborted": {
			func(u user) { u.rollOut("v1", promote); u.rollOut("v2", 10); u.rollOut("v1", promote) }, "1:100",
			func(u user) { u.rollOut("v2", 20) }, "2:20 1:80",
		},
		"of a promotion": {
			func(u user) { u.rollOut("v1", promote); u.rollOut("v2", promote) }, "2:100",
			func(u user) { u.rollOut("v3", 10) }, "3:10 2:90",
		},
		"of a promotion that was undone": {
			func(u user) { u.rollOut("v1", promote); u.rollOut("v2", promote); u.rollOut("v2", 0) }, "2:0 1:100",
			func(u user) { u.rollOut("v2", 50) }, "2:50 1:50",
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			test.before(u)
			u.wantTraffic(test.want)
			u.restore()
			u.settle()
			u.wantTraffic(test.want)
			u.wantSilence()
			test.after(u)
			u.wantTraffic(test.andThen)
		})
	}
}
