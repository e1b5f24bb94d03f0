// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/status"
)

// A problem with the InferenceService's own host does not make it unready.
func TestReadyWithoutHostRoute(t *testing.T) {
	const own, predictor = "http://sklearn-iris.kserve-test.example.com", "http://sklearn-iris-predictor.kserve-test.example.com"
	refused := backend.RouteStatus{Exists: true, Refused: true, Reason: "RefNotPermitted", Message: "it needs a ReferenceGrant"}
	for name, test := range map[string]struct {
		hostRoute                        *backend.HostRoute
		hostProblem                      *status.Problem
		wantURL, wantReason, wantMessage string
	}{
		"no host route": {nil, nil, own, "Ready", "the gateway serves " + own},
		"accepted":      {&backend.HostRoute{URL: own, Open: true}, nil, own, "Ready", "the gateway serves " + own},
		"pending": {
			&backend.HostRoute{URL: own}, nil,
			predictor, "Ready", "the gateway serves " + predictor + ", and has yet to accept the route of " + own,
		},
		"refused": {
			&backend.HostRoute{URL: own, Route: refused}, nil,
			predictor, "RefNotPermitted", "the gateway serves " + predictor + ", but not " + own + ": it needs a ReferenceGrant",
		},
		"controlled by another owner": {
			&backend.HostRoute{URL: own}, &status.Problem{Condition: v1beta1.ConditionIngressReady, Reason: "OwnershipConflict", Message: "it is web's"},
			predictor, "OwnershipConflict", "the gateway serves " + predictor + ", but not " + own + ": it is web's",
		},
	} {
		t.Run(name, func(t *testing.T) {
			report := served().report()
			report.Observed.HostRoute, report.HostProblem = test.hostRoute, test.hostProblem
			report.Observed.Addresses.URL = test.wantURL // The backend does this.
			got := status.For(report)
			if got.URL != test.wantURL {
				t.Errorf("the URL is %s", got.URL)
			}
			ingress := apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionIngressReady)
			if ingress.Status != metav1.ConditionTrue || ingress.Reason != test.wantReason || ingress.Message != test.wantMessage {
				t.Errorf("IngressReady is %s (%s): %s", ingress.Status, ingress.Reason, ingress.Message)
			}
			if ready := apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue || ready.Reason != "Ready" {
				t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
			}
			if got.Phase != v1beta1.PhaseStable {
				t.Errorf("the phase is %s", got.Phase)
			}
		})
	}
}
