// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"knative.dev/networking/pkg/apis/networking"
	netv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files")

var gateway = Gateway{Namespace: "kserve", Name: "gateway", Internal: "gateway.kserve.svc.cluster.local"}

// irisIngress returns an Ingress as Knative creates it for two revisions and a tag on the newer
// one.
func irisIngress(changes ...func(*netv1alpha1.Ingress)) *netv1alpha1.Ingress {
	split := []netv1alpha1.IngressBackendSplit{share("iris-00001", 90), share("iris-00002", 10)}
	tagged := []netv1alpha1.IngressBackendSplit{share("iris-00002", 0)}
	ingress := &netv1alpha1.Ingress{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ml", Name: "iris", UID: "1", Generation: 3,
			Annotations: map[string]string{networking.IngressClassAnnotationKey: Class},
		},
		Spec: netv1alpha1.IngressSpec{Rules: []netv1alpha1.IngressRule{
			rule(netv1alpha1.IngressVisibilityClusterLocal, split, "iris.ml", "iris.ml.svc", "iris.ml.svc.cluster.local"),
			rule(netv1alpha1.IngressVisibilityExternalIP, split, "iris.ml.example.com"),
			rule(netv1alpha1.IngressVisibilityExternalIP, tagged, "canary-iris.ml.example.com"),
		}},
	}
	for _, change := range changes {
		change(ingress)
	}
	return ingress
}

func rule(visibility netv1alpha1.IngressVisibility, splits []netv1alpha1.IngressBackendSplit, hosts ...string) netv1alpha1.IngressRule {
	return netv1alpha1.IngressRule{
		Hosts: hosts, Visibility: visibility,
		HTTP: &netv1alpha1.HTTPIngressRuleValue{Paths: []netv1alpha1.HTTPIngressPath{{Splits: splits}}},
	}
}

func share(revision string, percent int) netv1alpha1.IngressBackendSplit {
	return netv1alpha1.IngressBackendSplit{
		IngressBackend: netv1alpha1.IngressBackend{ServiceNamespace: "ml", ServiceName: revision, ServicePort: intstr.FromInt32(80)},
		Percent:        percent,
		AppendHeaders:  map[string]string{"Knative-Serving-Namespace": "ml", "Knative-Serving-Revision": revision},
	}
}

func path(of *netv1alpha1.Ingress) *netv1alpha1.HTTPIngressPath {
	return &of.Spec.Rules[0].HTTP.Paths[0]
}

func TestRoutes(t *testing.T) {
	for name, ingress := range map[string]*netv1alpha1.Ingress{
		"split": irisIngress(),
		"paths": irisIngress(func(i *netv1alpha1.Ingress) {
			i.Spec.Rules = i.Spec.Rules[1:2]
			byHeader := netv1alpha1.HTTPIngressPath{
				Path: "/v1", Splits: []netv1alpha1.IngressBackendSplit{share("iris-00002", 100)},
				Headers:       map[string]netv1alpha1.HeaderMatch{"Knative-Serving-Tag": {Exact: "canary"}},
				AppendHeaders: map[string]string{"Knative-Serving-Default-Route": "false"},
			}
			rule := i.Spec.Rules[0].HTTP
			rule.Paths = append([]netv1alpha1.HTTPIngressPath{byHeader}, rule.Paths...)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			routes, err := Routes(ingress, gateway.reference())
			if err != nil {
				t.Fatal(err)
			}
			golden := "testdata/" + name + ".yaml"
			got, err := yaml.Marshal(routes)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("the HTTPRoutes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRoutesErrors(t *testing.T) {
	for want, change := range map[string]func(*netv1alpha1.Ingress){
		"no certificates":      func(i *netv1alpha1.Ingress) { i.Spec.TLS = []netv1alpha1.IngressTLS{{}} },
		"keep the defaults":    func(i *netv1alpha1.Ingress) { i.Spec.HTTPOption = netv1alpha1.HTTPOptionRedirected },
		"rewrites the host":    func(i *netv1alpha1.Ingress) { path(i).RewriteHost = "other" },
		`in namespace "other"`: func(i *netv1alpha1.Ingress) { path(i).Splits[0].ServiceNamespace = "other" },
		"has the headers":      func(i *netv1alpha1.Ingress) { path(i).Splits[0].AppendHeaders = map[string]string{"a": "b"} },
		"no splits":            func(i *netv1alpha1.Ingress) { path(i).Splits = nil },
		"no hosts":             func(i *netv1alpha1.Ingress) { i.Spec.Rules[0].Hosts = nil },
	} {
		if _, err := Routes(irisIngress(change), gateway.reference()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// The hash of a route changes with its content and with nothing else.
func TestHashDependsOnlyOnContent(t *testing.T) {
	hashes := func(change func(*netv1alpha1.Ingress)) []string {
		routes, err := Routes(irisIngress(change), gateway.reference())
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, route := range routes {
			all = append(all, hashOf(route))
		}
		return all
	}
	before := hashes(func(i *netv1alpha1.Ingress) { i.Generation++ })
	after := hashes(func(i *netv1alpha1.Ingress) {
		path(i).Splits = []netv1alpha1.IngressBackendSplit{share("iris-00001", 80), share("iris-00002", 20)}
	})
	if before[0] == after[0] {
		t.Errorf("another split has the same hash %s", after[0])
	}
	if diff := cmp.Diff(before[1:], after[1:]); diff != "" {
		t.Errorf("the hashes of the other HTTPRoutes have changed (-before +after):\n%s", diff)
	}
}
