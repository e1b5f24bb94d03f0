// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package charts holds the Helm chart and the tests that keep it, and the
// kustomize build that it follows, true to each other and to what they promise.
package charts
