// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

// SwitchedOn reads an annotation that is a switch.
func SwitchedOn(annotations map[string]string, key string, otherwise bool) bool {
	switch annotations[key] {
	case "true":
		return true
	case "false", "":
		return false
	default:
		return otherwise
	}
}
