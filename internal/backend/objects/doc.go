// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package objects names, owns and writes the objects of an InferenceService for both backends.
// Objects that are up to date cost no writes, and objects of other owners are left alone.
package objects
