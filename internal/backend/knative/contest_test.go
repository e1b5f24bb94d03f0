// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/testkit"
)

// TestContestedKnativeService expects growing pauses for the contested content, and none for other
// content, such as a new split.
func TestContestedKnativeService(t *testing.T) {
	for name, test := range map[string]struct {
		field  string
		change func(*servingv1.Service)
	}{
		"a label": {"metadata.labels." + v1beta1.LabelManagedBy, func(s *servingv1.Service) { delete(s.Labels, v1beta1.LabelManagedBy) }},
		"traffic": {"spec.traffic", func(s *servingv1.Service) { s.Spec.Traffic[0].Tag = "theirs" }},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			u.backend.Now = func() time.Time { return u.now }
			u.rollOut("v1", promote)
			change := func() { testkit.EditObject(u.Objects, serviceName, &servingv1.Service{}, test.change) }
			change()
			u.server.Intercept = func(w write, do func() error) error {
				err := do()
				if err == nil && w.Kind == "Service" {
					change()
				}
				return err
			}
			before := len(u.server.Writes)
			var contests []backend.Contest
			for range 60 {
				_, _, outcome, err := u.carryOut()
				u.Must(err)
				contests = outcome.Contests
				u.now = u.now.Add(time.Second)
			}
			if n := len(u.server.Writes) - before; n < 5 || n > 11 {
				t.Errorf("it has written %d times in a minute: %v", n, u.server.Writes[before:])
			}
			if len(contests) != 1 || contests[0].Kind != serviceKind || contests[0].Field != test.field {
				t.Errorf("it reports %+v", contests)
			}
		})
	}
}

func TestForeignHistoryAnnotationsCostOneWrite(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	testkit.EditObject(u.Objects, backend.RevisionName(isvcName, 1), &appsv1.ControllerRevision{}, func(r *appsv1.ControllerRevision) {
		r.Annotations[objects.OwnPrefix+"note"] = "x"
	})
	u.settle()
	before := len(u.server.Writes)
	for range 5 {
		_, _, err := u.reconcile()
		u.Must(err)
	}
	if n := len(u.server.Writes) - before; n > 0 {
		t.Errorf("%d writes of a settled InferenceService: %v", n, u.server.Writes[before:])
	}
}

// TestModeWithoutStatus reads the mode from the Knative Service or from the saved rollout state.
func TestModeWithoutStatus(t *testing.T) {
	u := newUser(t)
	mode := func() v1beta1.DeploymentMode {
		observed := u.observe()
		return observed.Mode
	}
	if got := mode(); got != "" {
		t.Errorf("without objects it is %q", got)
	}
	u.rollOut("v1", promote)
	if got := mode(); got != v1beta1.DeploymentModeKnative {
		t.Errorf("it is %q", got)
	}
	u.rollOut("v1", promote, func(isvc *v1beta1.InferenceService) {
		isvc.Annotations = map[string]string{v1beta1.AnnotationStop: "true"}
	})
	if got := mode(); got != v1beta1.DeploymentModeKnative {
		t.Errorf("of a stopped one it is %q", got)
	}
}
