// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"fmt"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// Error is a predictor that cannot be run as it is written. Only a user can
// mend it. Its text is stable: the same inputs give the same words.
type Error struct {
	// Reason is what status.modelStatus.lastFailureInfo gets.
	Reason v1beta1.FailureReason
	// Field is the path of what is wrong.
	Field string
	// Message says what is wrong and what to write.
	Message string
	// InSecret says that a change of a secret can mend it, which nobody hears of.
	InSecret bool
}

func (e *Error) Error() string {
	return e.Field + ": " + e.Message
}

func invalid(field, format string, args ...any) *Error {
	return &Error{Reason: v1beta1.InvalidPredictorSpec, Field: field, Message: fmt.Sprintf(format, args...)}
}
