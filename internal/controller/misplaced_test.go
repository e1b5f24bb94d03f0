// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit"
)

const misplacedKey = "serving.kserve.io/canaryTrafficPercent"

// TestMisplacedPercentCreatesNoRevision: without its percent, a new revision would get all traffic.
func TestMisplacedPercentCreatesNoRevision(t *testing.T) {
	o := newOperator(t)
	o.rollOut("v1", nil)
	o.edit(testkit.Annotation(misplacedKey, "10"))
	o.rollOut("v2", nil)

	if got := len(o.backend.revisions); got != 1 {
		t.Errorf("there are %d revisions, want 1", got)
	}
	if got := o.backend.state.Split.Percent(1); got != 100 {
		t.Errorf("revision 1 has %d %% of the traffic, want 100", got)
	}
	ready := o.condition(v1beta1.ConditionReady)
	if ready.Status != metav1.ConditionFalse || ready.Reason != string(v1beta1.InvalidPredictorSpec) ||
		!strings.Contains(ready.Message, "metadata.annotations["+misplacedKey+"]") || !strings.Contains(ready.Message, "write spec.predictor.canaryTrafficPercent") {
		t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
	}

	o.edit(func(isvc *v1beta1.InferenceService) {
		delete(isvc.Annotations, misplacedKey)
		isvc.Spec.Predictor.CanaryTrafficPercent = new(int64(10))
	})
	o.settle()
	if got := o.backend.state.Split.Percent(2); got != 10 {
		t.Errorf("after the percent is set in the spec, revision 2 has %d %% of the traffic, want 10", got)
	}
}

// TestStoredMisplacedPercentKeepsTheSplit covers an object that was stored before such a percent
// was refused.
func TestStoredMisplacedPercentKeepsTheSplit(t *testing.T) {
	o := newOperator(t)
	o.rollOut("v1", nil)
	o.rollOut("v2", nil)
	o.edit(testkit.Annotation(misplacedKey, "10"))
	o.settle()
	if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue {
		t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
	}
	ignored := o.condition(v1beta1.ConditionSettingsIgnored)
	if ignored.Status != metav1.ConditionTrue || !strings.Contains(ignored.Message, misplacedKey) {
		t.Errorf("SettingsIgnored is %s: %s", ignored.Status, ignored.Message)
	}

	o.rollOut("v2", new(int64(0)))
	if got := o.backend.state.Split.Percent(1); got != 100 {
		t.Errorf("after a rollback revision 1 has %d %% of the traffic, want 100", got)
	}
}
