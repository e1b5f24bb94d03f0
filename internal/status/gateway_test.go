// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"slices"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/status"
)

func TestIngressReadyShowsRemarks(t *testing.T) {
	const own = "http://sklearn-iris.kserve-test.example.com"
	remarks := []backend.Remark{{Message: "no timeout"}, {Reason: "UnsupportedField", Message: "timeouts were ignored"}}
	for name, observe := range map[string]func(*backend.Observation){
		"main route": func(o *backend.Observation) { o.RouteStatus.Remarks = remarks },
		"host route": func(o *backend.Observation) {
			o.HostRoute = &backend.HostRoute{URL: own, Open: true, Route: backend.RouteStatus{Remarks: remarks}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			report := served().report()
			observe(report.Observed)
			got := status.For(report).Conditions
			ingress := apimeta.FindStatusCondition(got, v1beta1.ConditionIngressReady)
			if want := "the gateway serves " + own + "; no timeout; timeouts were ignored"; ingress.Message != want ||
				ingress.Status != metav1.ConditionTrue || ingress.Reason != "UnsupportedField" {
				t.Errorf("IngressReady is %s (%s): %s", ingress.Status, ingress.Reason, ingress.Message)
			}
			if ready := apimeta.FindStatusCondition(got, v1beta1.ConditionReady); ready.Reason != "Ready" {
				t.Errorf("Ready is %s (%s)", ready.Status, ready.Reason)
			}
		})
	}
}

func TestAddressesChangeOnceServed(t *testing.T) {
	scenario := scenario{target: 1, tagged: true, ready: replicas{1: 1}, state: rolloutState(1, 0, 1, nil, split(1, 100))}
	report := scenario.report()
	report.InferenceService.Status = status.For(report)
	before := report.InferenceService.Status

	report.Observed.Addresses = backend.Addresses{
		URL: "http://elsewhere", Predictor: "http://elsewhere-predictor", Local: "http://inside",
		Tag: func(tag string) string { return "http://elsewhere-" + tag },
	}
	urls := func(s v1beta1.InferenceServiceStatus) []string {
		predictor, local := s.Components[v1beta1.PredictorComponent], ""
		if s.Address != nil {
			local = s.Address.URL
		}
		return []string{s.URL, predictor.URL, local, predictor.Traffic[0].URL}
	}
	report.Decision.Programmed = false
	if got, want := urls(status.For(report)), urls(before); !slices.Equal(got, want) {
		t.Errorf("addresses are %v, want %v", got, want)
	}
	report.Decision.Programmed = true
	if got, want := urls(status.For(report)), []string{"http://elsewhere", "http://elsewhere-predictor", "http://inside", "http://elsewhere-latest"}; !slices.Equal(got, want) {
		t.Errorf("once served, addresses are %v, want %v", got, want)
	}
}

func TestNoURLBeforeFirstRouteIsServed(t *testing.T) {
	first := rolloutState(1, 0, 1, nil, split(1, 100))
	first.ServedBefore = split()
	if got := status.For(scenario{target: 1, ready: replicas{1: 1}, state: first, pending: true}.report()); got.URL != "" {
		t.Errorf("URL is %s", got.URL)
	}
}
