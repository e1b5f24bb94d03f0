// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package objects is what both backends do alike with the objects that they make of an InferenceService: name them,
// tell whose they are, and write them, so that what is so already costs nothing and what is somebody else's stays so.
package objects
