// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// messageLimit is the maximum number of characters of a message. The schema allows more.
	messageLimit = 1024
	// reasonLimit is the maximum number of characters of a reason by the schema.
	reasonLimit = 1024
	// reasonUnnamed replaces a reason without any valid character.
	reasonUnnamed = "Unnamed"
)

var (
	reasonPattern      = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)
	invalidReasonChars = regexp.MustCompile(`[^A-Za-z0-9_,:]+`)
)

// validReason removes what the schema does not allow in a reason, which may come from a gateway or
// from Knative. The API server would refuse the whole status for one invalid reason.
func validReason(reason string) string {
	if reasonPattern.MatchString(reason) && len(reason) <= reasonLimit {
		return reason
	}
	reason = invalidReasonChars.ReplaceAllString(reason, "")
	reason = strings.TrimLeft(reason, "0123456789_,:")
	reason = strings.TrimRight(reason[:min(len(reason), reasonLimit)], ",:")
	if reason == "" {
		return reasonUnnamed
	}
	return reason
}

// truncate shortens a message to messageLimit characters and makes it valid UTF-8.
func truncate(message string) string {
	message = strings.ToValidUTF8(message, "�")
	if utf8.RuneCountInString(message) <= messageLimit {
		return message
	}
	return strings.TrimRight(string([]rune(message)[:messageLimit-1]), " ") + "…"
}

// storedTime returns a time as the API server stores it, in seconds. Any other time would differ from
// the stored one at each reconciliation.
func storedTime(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }
