// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestSentRoutes(t *testing.T) {
	key := client.ObjectKey{Namespace: "ns", Name: "iris"}
	for name, test := range map[string]struct {
		written, seen string
		want          bool
	}{
		"nothing was written":          {"", "7", false},
		"the cache is older":           {"10", "9", true},
		"the cache has nothing yet":    {"10", "", true},
		"the cache shows it":           {"10", "10", false},
		"somebody has written since":   {"10", "11", false},
		"a version that has no number": {"10", "nine", false},
	} {
		t.Run(name, func(t *testing.T) {
			var sent sentRoutes
			if test.written != "" {
				sent.note(&gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{
					Namespace: key.Namespace, Name: key.Name, ResourceVersion: test.written,
				}})
			}
			if got := sent.awaited(key, test.seen); got != test.want {
				t.Errorf("awaited(%q) is %t after %q was written, want %t", test.seen, got, test.written, test.want)
			}
		})
	}
}

func TestSentRoutesForgetWhatTheCacheHasShown(t *testing.T) {
	var sent sentRoutes
	key := client.ObjectKey{Namespace: "ns", Name: "iris"}
	sent.note(&gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, ResourceVersion: "10"}})
	if sent.awaited(key, "10") {
		t.Fatal("a version that the cache shows is awaited")
	}
	if sent.awaited(key, "") {
		t.Error("a route that the cache has shown, and that is gone since, is awaited")
	}
}
