// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gateway is what both backends do alike with HTTPRoutes of the Gateway API: attach them to the gateways that are
// configured, give them the hosts of an InferenceService, and read what the gateways say of them.
package gateway
