// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"fmt"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// Error reports a predictor that cannot run until a user changes it. The same inputs always produce
// the same text.
type Error struct {
	// Reason is reported in status.modelStatus.lastFailureInfo.
	Reason v1beta1.FailureReason
	Field  string
	// Message describes the problem and how to fix it.
	Message string
	// InSecret reports that a change of a Secret can fix the error. Secrets are not watched.
	InSecret bool
}

func (e *Error) Error() string {
	return e.Field + ": " + e.Message
}

func invalid(field, format string, args ...any) *Error {
	return &Error{Reason: v1beta1.InvalidPredictorSpec, Field: field, Message: fmt.Sprintf(format, args...)}
}
