// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package types stands for the project's own API.
package types

// Spec is what the user asks for.
//
// It has a second paragraph
// on two lines.
type Spec struct {
	// The model to serve. The operator picks
	// a runtime for it.
	// +optional
	Model string

	// How it scales. This stays whole.
	Scale string
}
