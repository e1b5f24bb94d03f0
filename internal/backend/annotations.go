// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

// SwitchedOn returns the value of a boolean annotation; otherwise is the value of any other text.
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
