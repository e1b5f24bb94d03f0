// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// TestBlockedDeletionIsReported checks that the status names the command that ends the wait and the
// traffic meanwhile.
func TestBlockedDeletionIsReported(t *testing.T) {
	const patch = "kubectl patch inferenceservices.serving.kserve.io -n kserve-test sklearn-iris --type=merge -p "
	for name, test := range map[string]struct {
		finalizers []string
		after      time.Duration
		unready    bool
		want       []string
	}{
		"KServe's": {
			finalizers: []string{"inferenceservice.finalizers"},
			want:       []string{"inferenceservice.finalizers; only KServe", "100 % on sklearn-iris-predictor-00001", patch + `'{"metadata":{"finalizers":null}}'`},
		},
		"that of a distribution, without a ready pod": {
			finalizers: []string{"odh.inferenceservice.finalizers"}, unready: true,
			want: []string{"odh.inferenceservice.finalizers", "no revision serves", patch},
		},
		"KServe's beside another": {
			finalizers: []string{"inferenceservice.finalizers", "example.com/audit"},
			want:       []string{"example.com/audit, inferenceservice.finalizers", patch + `'{"metadata":{"finalizers":["example.com/audit"]}}'`},
		},
		"another, for a moment":   {finalizers: []string{"example.com/audit"}, after: time.Second},
		"another, persistent":     {finalizers: []string{"example.com/audit"}, after: persistentFailureAfter, want: []string{"the controllers that have set them", "where such a controller is gone", patch}},
		"the garbage collector's": {finalizers: []string{metav1.FinalizerDeleteDependents}, after: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			o.settle()
			o.newEvents()
			if test.unready {
				o.backend.failing[1] = nil
				o.backend.catchUp()
			}
			decisions, writes := len(o.backend.decisions), o.statusWrites
			isvc := o.isvc()
			isvc.Finalizers = test.finalizers
			o.must(o.server.Update(t.Context(), isvc))
			o.must(o.server.Delete(t.Context(), isvc))
			o.clock.SetTime(o.isvc().DeletionTimestamp.Add(test.after))
			for range 3 {
				o.reconcile()
			}
			isvc = o.isvc()
			if len(o.backend.decisions) > decisions {
				t.Error("a deleted InferenceService is changed")
			}
			events := o.newEvents()
			if len(test.want) == 0 {
				if o.statusWrites > writes || len(events) > 0 {
					t.Errorf("the status is written %d times, and the events are %v", o.statusWrites-writes, events)
				}
				return
			}
			ready := isvc.Status.Conditions[len(isvc.Status.Conditions)-1]
			if o.statusWrites != writes+1 || ready.Status != metav1.ConditionFalse || ready.Reason != "DeletionBlocked" || isvc.Status.Phase != v1beta1.PhaseBlocked {
				t.Errorf("after %d writes Ready is %s (%s), phase %s", o.statusWrites-writes, ready.Status, ready.Reason, isvc.Status.Phase)
			}
			for _, words := range test.want {
				if !strings.Contains(ready.Message, words) {
					t.Errorf("the message lacks %q:\n%s", words, ready.Message)
				}
			}
			if len(events) != 1 || !strings.HasPrefix(events[0], "Warning DeletionBlocked ") {
				t.Errorf("events are %v", events)
			}
		})
	}
}
