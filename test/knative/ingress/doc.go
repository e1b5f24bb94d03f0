// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ingress implements an ingress controller for Knative in tests. It translates Knative's
// Ingresses to HTTPRoutes of the Gateway API. Knative's own ingress controllers are not available
// as Go modules.
//
// # Hops
//
// A request to a revision can reach Knative's activator, which needs headers that name the
// revision. An Ingress specifies these headers for each split, but Traefik can add headers only for
// a whole rule, not for a backend. Therefore the backend of a split is not the Service of its
// revision but a hop: a port of this program that adds the headers and forwards requests to that
// Service. The controller opens a hop as soon as Knative creates the Service of a revision, so that
// a change of the split changes only HTTPRoutes.
//
//	client → gateway ─ split of the HTTPRoute → hop of the revision ─ headers → Service of the revision → activator or pod
//
// # When an Ingress is ready
//
// Knative reports a Route as ready once its Ingress is ready, and clients rely on the split being
// served then. Traefik accepts an HTTPRoute before it serves it. Therefore each HTTPRoute has a
// rule for probes that adds a header with a hash of the HTTPRoute's content, and the hop returns
// that header. An Ingress is ready when all of its HTTPRoutes are accepted at their generation and
// probes through the gateway return their hashes.
package ingress
