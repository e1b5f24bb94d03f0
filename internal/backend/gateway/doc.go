// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gateway contains what both backends need for HTTPRoutes of the Gateway API: it attaches
// routes to the configured gateways, sets the hosts of an InferenceService, and reads the status
// that gateways report.
package gateway
