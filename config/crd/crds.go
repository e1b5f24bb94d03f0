// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd holds the CustomResourceDefinitions of Serinus, for tests that install them on an API server of their own.
package crd

import "embed"

// Bases has one CustomResourceDefinition in YAML per file, in the folder bases.
//
//go:embed bases/*.yaml
var Bases embed.FS
