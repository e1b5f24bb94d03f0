// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 stands in for Traefik's own kinds.
package v1alpha1

// GroupName is their API group.
const GroupName = "traefik.io"
