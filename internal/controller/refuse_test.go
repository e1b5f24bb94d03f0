// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/testkit"
)

func TestModes(t *testing.T) {
	tests := map[string]struct {
		annotation, current string
		wantReason          string
		wantStatus          v1beta1.DeploymentMode
	}{
		"none":              {wantStatus: v1beta1.DeploymentModeStandard},
		"Standard":          {annotation: "Standard", wantStatus: v1beta1.DeploymentModeStandard},
		"its old name":      {annotation: "RawDeployment", wantStatus: v1beta1.DeploymentModeStandard},
		"Knative":           {annotation: "Knative", wantStatus: v1beta1.DeploymentModeKnative},
		"its old name, too": {annotation: "Serverless", wantStatus: v1beta1.DeploymentModeKnative},
		"a current Knative mode that KServe wrote": {current: "Serverless", wantStatus: v1beta1.DeploymentModeKnative},
		"Standard, while the mode is Knative":      {annotation: "Standard", current: "Knative", wantReason: reasonDeploymentModeChanged, wantStatus: v1beta1.DeploymentModeKnative},
		"an unknown mode":                          {annotation: "Turbo", wantReason: reasonDeploymentMode},
		"the current mode under its old name":      {annotation: "RawDeployment", current: "Standard", wantStatus: v1beta1.DeploymentModeStandard},
		"a current mode that KServe wrote":         {annotation: "RawDeployment", current: "RawDeployment", wantStatus: v1beta1.DeploymentModeStandard},
		"another than the current mode":            {annotation: "Serverless", current: "Standard", wantReason: reasonDeploymentModeChanged, wantStatus: v1beta1.DeploymentModeStandard},
		"an unknown mode with a current mode":      {annotation: "Turbo", current: "Standard", wantReason: reasonDeploymentMode, wantStatus: v1beta1.DeploymentModeStandard},
		"the annotation is removed":                {current: "Standard", wantStatus: v1beta1.DeploymentModeStandard},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			isvc := &v1beta1.InferenceService{}
			if test.annotation != "" {
				isvc.Annotations = map[string]string{v1beta1.AnnotationDeploymentMode: test.annotation}
			}
			isvc.Status.DeploymentMode = test.current
			backends := map[v1beta1.DeploymentMode]Backend{
				v1beta1.DeploymentModeStandard: newFakeBackend(), v1beta1.DeploymentModeKnative: newFakeBackend(),
			}
			s := &scope{Reconciler: &Reconciler{Config: config.Default(), Backends: backends}, isvc: isvc}

			reason := ""
			if refused := s.refuseMode(); refused != nil {
				reason = refused.Reason
			}
			if reason != test.wantReason {
				t.Errorf("reason is %q, want %q", reason, test.wantReason)
			}
			if mode := s.mode(); mode != test.wantStatus {
				t.Errorf("mode in the status is %q, want %q", mode, test.wantStatus)
			}
		})
	}
}

// TestYoungerInferenceServiceWithTheSameHostIsRefused covers both modes, because both use hosts of
// the same gateway.
func TestYoungerInferenceServiceWithTheSameHostIsRefused(t *testing.T) {
	tests := map[string]struct {
		older, younger string // As namespace/name. The default namespace is «team-a».
		template       string
		modes          []v1beta1.DeploymentMode // Of the older and the younger. The default is Standard.
		wantHost       string
	}{
		"the predictor of the older":   {older: "iris", younger: "iris-predictor", wantHost: "iris-predictor.team-a.example.com"},
		"its predictor is the older":   {older: "iris-predictor", younger: "iris", wantHost: "iris-predictor.team-a.example.com"},
		"a tag of the older":           {older: "iris", younger: "latest-iris", wantHost: "latest-iris-predictor.team-a.example.com"},
		"its tag is the older":         {older: "prev-iris", younger: "iris", wantHost: "prev-iris-predictor.team-a.example.com"},
		"a tag of the older, in full":  {older: "iris", younger: "prev-iris-predictor", wantHost: "prev-iris-predictor.team-a.example.com"},
		"names that only look related": {older: "iris", younger: "my-iris"},
		"the same name elsewhere":      {older: "team-a/iris", younger: "team-b/iris"},
		"a template that joins name and namespace": {
			older: "b-c/a", younger: "c/a-b", template: "{{.Name}}-{{.Namespace}}.{{.Domain}}", wantHost: "a-b-c.example.com",
		},
		"the predictor of the older, in Knative mode": {
			older: "iris", younger: "iris-predictor", modes: []v1beta1.DeploymentMode{v1beta1.DeploymentModeKnative, v1beta1.DeploymentModeStandard},
			wantHost: "iris-predictor.team-a.example.com",
		},
		"a template that joins name and namespace, for one in Knative mode": {
			older: "b-c/a", younger: "c/a-b", template: "{{.Name}}-{{.Namespace}}.{{.Domain}}",
			modes: []v1beta1.DeploymentMode{v1beta1.DeploymentModeStandard, v1beta1.DeploymentModeKnative}, wantHost: "a-b-c.example.com",
		},
		"a template that joins name and namespace, for two in Knative mode": {
			older: "b-c/a", younger: "c/a-b", template: "{{.Name}}-{{.Namespace}}.{{.Domain}}",
			modes: []v1beta1.DeploymentMode{v1beta1.DeploymentModeKnative, v1beta1.DeploymentModeKnative}, wantHost: "a-b-c.example.com",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			newService := func(name string, created time.Time) *v1beta1.InferenceService {
				namespace, base, found := strings.Cut(name, "/")
				if !found {
					namespace, base = "team-a", name
				}
				return &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{
					Name: base, Namespace: namespace, UID: types.UID(name), CreationTimestamp: metav1.NewTime(created),
				}}
			}
			cfg := config.Default()
			if test.template != "" {
				template, err := config.ParseHostTemplate(test.template)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Ingress.HostTemplate = template
			}
			older, younger := newService(test.older, begin), newService(test.younger, begin.Add(time.Hour))
			for i, mode := range test.modes {
				testkit.Annotation(v1beta1.AnnotationDeploymentMode, string(mode))([]*v1beta1.InferenceService{older, younger}[i])
			}
			scheme, err := NewScheme()
			if err != nil {
				t.Fatal(err)
			}
			reconciler := &Reconciler{
				Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(older, younger).
					WithIndex(&v1beta1.InferenceService{}, indexByHost, hostsOf(cfg.Ingress)).Build(),
				Config: cfg,
			}

			refused, err := (&scope{Reconciler: reconciler, isvc: younger}).refuseSharedHosts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if test.wantHost == "" && refused != nil {
				t.Errorf("the younger is refused: %v", refused)
			}
			if test.wantHost != "" && (refused == nil || !strings.Contains(refused.Message, test.wantHost)) {
				t.Errorf("the younger is refused with %v, want the host %s named", refused, test.wantHost)
			}
			if refused, err := (&scope{Reconciler: reconciler, isvc: older}).refuseSharedHosts(t.Context()); refused != nil || err != nil {
				t.Errorf("the older is refused: %v, %v", refused, err)
			}
		})
	}
}

// TestUnsupportedFieldMovesNoTraffic: a spec that its mode refuses does not supersede a canary.
func TestUnsupportedFieldMovesNoTraffic(t *testing.T) {
	o := newOperator(t)
	o.rollOut("v1", nil)
	o.rollOut("v2", new(int64(10)))
	before := o.backend.state.Split
	o.backend.checkErr = &predictor.Error{Reason: v1beta1.InvalidPredictorSpec, Field: "spec.predictor.hostname", Message: "Knative has no such field"}
	o.rollOut("v3", new(int64(10)))
	if got := o.backend.state.Split; !got.Equal(before) || len(o.backend.revisions) != 2 {
		t.Errorf("the split is %s, with %d revisions", got, len(o.backend.revisions))
	}
	if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionFalse || !strings.Contains(ready.Message, "spec.predictor.hostname") {
		t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
	}

	o.rollOut("v2", new(int64(0)))
	if got := o.backend.state.Split.Percent(1); got != 100 {
		t.Errorf("after a rollback revision 1 has %d %% of the traffic", got)
	}
}
