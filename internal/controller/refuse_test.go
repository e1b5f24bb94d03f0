// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
)

func TestModes(t *testing.T) {
	tests := map[string]struct {
		annotation, live string
		wantReason       string
		wantStatus       v1beta1.DeploymentMode
	}{
		"none":                                   {wantStatus: v1beta1.DeploymentModeStandard},
		"Standard":                               {annotation: "Standard", wantStatus: v1beta1.DeploymentModeStandard},
		"its old name":                           {annotation: "RawDeployment", wantStatus: v1beta1.DeploymentModeStandard},
		"Knative":                                {annotation: "Knative", wantReason: reasonDeploymentMode},
		"an unknown mode":                        {annotation: "Turbo", wantReason: reasonDeploymentMode},
		"the live mode under its old name":       {annotation: "RawDeployment", live: "Standard", wantStatus: v1beta1.DeploymentModeStandard},
		"a live mode that KServe wrote":          {annotation: "RawDeployment", live: "RawDeployment", wantStatus: v1beta1.DeploymentModeStandard},
		"another than the live mode":             {annotation: "Serverless", live: "Standard", wantReason: reasonDeploymentModeChanged, wantStatus: v1beta1.DeploymentModeStandard},
		"an unknown mode on a live object":       {annotation: "Turbo", live: "Standard", wantReason: reasonDeploymentModeChanged, wantStatus: v1beta1.DeploymentModeStandard},
		"the annotation of a live one taken off": {live: "Standard", wantStatus: v1beta1.DeploymentModeStandard},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			isvc := &v1beta1.InferenceService{}
			if test.annotation != "" {
				isvc.Annotations = map[string]string{v1beta1.AnnotationDeploymentMode: test.annotation}
			}
			isvc.Status.DeploymentMode = test.live
			p := &pass{Reconciler: &Reconciler{Config: config.Default()}, isvc: isvc}

			reason := ""
			if refused := p.refuseMode(); refused != nil {
				reason = refused.Reason
			}
			if reason != test.wantReason {
				t.Errorf("reason is %q, want %q", reason, test.wantReason)
			}
			if mode := p.mode(); mode != test.wantStatus {
				t.Errorf("mode in the status is %q, want %q", mode, test.wantStatus)
			}
		})
	}
}

func TestTheYoungerOfTwoWithOneHostIsRefused(t *testing.T) {
	tests := map[string]struct {
		older, younger string
		wantHost       string
	}{
		"the predictor of the older":   {"iris", "iris-predictor", "iris-predictor.team-a.example.com"},
		"its predictor is the older":   {"iris-predictor", "iris", "iris-predictor.team-a.example.com"},
		"a tag of the older":           {"iris", "latest-iris", "latest-iris-predictor.team-a.example.com"},
		"its tag is the older":         {"prev-iris", "iris", "prev-iris-predictor.team-a.example.com"},
		"a tag of the older, in full":  {"iris", "prev-iris-predictor", "prev-iris-predictor.team-a.example.com"},
		"names that only look related": {"iris", "my-iris", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			made := func(name string, created time.Time) *v1beta1.InferenceService {
				return &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{
					Name: name, Namespace: "team-a", CreationTimestamp: metav1.NewTime(created),
				}}
			}
			older, younger := made(test.older, begin), made(test.younger, begin.Add(time.Hour))
			scheme, err := NewScheme()
			if err != nil {
				t.Fatal(err)
			}
			reconciler := &Reconciler{
				Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(older, younger).Build(),
				Config: config.Default(),
			}

			refused, err := (&pass{Reconciler: reconciler, isvc: younger}).refuseSharedHosts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if test.wantHost == "" && refused != nil {
				t.Errorf("the younger is refused: %v", refused)
			}
			if test.wantHost != "" && (refused == nil || !strings.Contains(refused.Message, test.wantHost)) {
				t.Errorf("the younger is refused with %v, want the host %s named", refused, test.wantHost)
			}
			if refused, err := (&pass{Reconciler: reconciler, isvc: older}).refuseSharedHosts(t.Context()); refused != nil || err != nil {
				t.Errorf("the older is refused: %v, %v", refused, err)
			}
		})
	}
}
