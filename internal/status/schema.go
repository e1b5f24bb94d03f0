// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	// messageLimit is how many characters a message may have. The schema takes more, and people do not read more.
	messageLimit = 1024
	// reasonLimit is how many characters the schema takes for a reason.
	reasonLimit = 1024
	// reasonUnnamed stands for a reason of which the schema takes nothing.
	reasonUnnamed = "Unnamed"
)

var (
	reasonPattern = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)
	notInReason   = regexp.MustCompile(`[^A-Za-z0-9_,:]+`)
)

// validReason makes the schema take a reason, which may be a gateway's or Knative's. With one reason that is refused, the
// whole status is.
func validReason(reason string) string {
	if reasonPattern.MatchString(reason) && len(reason) <= reasonLimit {
		return reason
	}
	reason = notInReason.ReplaceAllString(reason, "")
	reason = strings.TrimLeft(reason, "0123456789_,:")
	reason = strings.TrimRight(reason[:min(len(reason), reasonLimit)], ",:")
	if reason == "" {
		return reasonUnnamed
	}
	return reason
}

// shortened cuts a message at the limit, between two characters.
func shortened(message string) string {
	message = strings.ToValidUTF8(message, "�")
	if utf8.RuneCountInString(message) <= messageLimit {
		return message
	}
	return strings.TrimRight(string([]rune(message)[:messageLimit-1]), " ") + "…"
}
