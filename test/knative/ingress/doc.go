// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ingress is how Knative reaches the gateway of the tests: it turns Knative's Ingresses
// into HTTPRoutes of the Gateway API. Knative has ingress controllers of its own, but none that can
// be had as a Go module.
//
// # Hops
//
// A request to a revision may come to Knative's activator, which asks its headers which revision is
// meant. An Ingress has these headers beside each share; Traefik cannot add a header to a share,
// only to a whole rule. So a share does not lead to the Service of its revision, but to a hop: a
// port of this program which adds the headers, and passes requests on to that Service. There is a
// hop for each Service that Knative makes for a revision, from the moment on when it makes it. So a
// change of the split changes HTTPRoutes and nothing else.
//
//	client → gateway ─ split of the HTTPRoute → hop of the revision ─ headers → Service of the revision → activator or pod
//
// # When an Ingress is ready
//
// Knative tells that a Route is ready once its Ingress is, and whoever waits for that takes for
// granted that the split is served. Traefik confirms an HTTPRoute when it begins to take it over.
// So each HTTPRoute has a rule for probes, which names the content of the HTTPRoute in a header;
// the hop answers with what it was asked with. An Ingress is ready when all of its HTTPRoutes are
// confirmed as they are, and probes through the gateway tell of their content.
package ingress
