// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package charts holds the Helm chart. Its tests compare the chart with the kustomize build and
// check the security of both.
package charts
