// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Verb is what a user asks of a trial.
type Verb string

// The verbs, in the order in which [ParseIntents] returns them.
const (
	// Abort rejects the canary.
	Abort Verb = "abort"
	// Pause keeps the share from going up.
	Pause Verb = "pause"
	// Promote gives 100 % without holds, proof and approvals.
	Promote Verb = "promote"
	// Approve allows one share.
	Approve Verb = "approve"
	// Retry begins the trial of a rejected revision that it names.
	Retry Verb = "retry"
)

var annotationOf = map[Verb]string{
	Abort:   v1beta1.AnnotationAbort,
	Pause:   v1beta1.AnnotationPause,
	Promote: v1beta1.AnnotationPromote,
	Approve: v1beta1.AnnotationApprove,
	Retry:   v1beta1.AnnotationRetry,
}

// Intent is what an annotation asks of a trial.
type Intent struct {
	Verb  Verb
	Trial rollout.TrialID
	// Share is the approved share, 0 to 100. 100 is the promotion.
	Share int
}

// Annotation returns the key of the annotation.
func (i Intent) Annotation() string { return annotationOf[i.Verb] }

// Value returns the value of the annotation.
func (i Intent) Value() string {
	if i.Verb == Approve {
		return fmt.Sprintf("%s/%d", i.Trial, i.Share)
	}
	return i.Trial.String()
}

// Command returns the command that expresses the intent.
func (i Intent) Command(namespace, name string) string {
	return fmt.Sprintf("kubectl annotate isvc -n %s %s --overwrite %s=%s", namespace, name, i.Annotation(), i.Value())
}

// Names reports whether the intent is for the current trial. A retry is also for the trial that
// comes next. Other intents are ignored and reported once.
func (i Intent) Names(current rollout.TrialID) bool {
	return i.Trial == current || i.Verb == Retry && i.Trial == current.Next()
}

// MalformedIntent is an annotation that is not an intent.
type MalformedIntent struct {
	Annotation string
	// Message says what to write.
	Message string
}

// ParseIntents returns the intents in the annotations of an InferenceService.
func ParseIntents(annotations map[string]string) ([]Intent, []MalformedIntent) {
	var intents []Intent
	var malformed []MalformedIntent
	for _, verb := range []Verb{Abort, Pause, Promote, Approve, Retry} {
		text, ok := annotations[annotationOf[verb]]
		if !ok {
			continue
		}
		if intent, ok := parseIntent(verb, text); ok {
			intents = append(intents, intent)
			continue
		}
		what := "a trial: write the revision and the attempt, such as 2.1"
		if verb == Approve {
			what = "a trial and a share: write the revision, the attempt and the percentage, such as 2.1/50, or 2.1/100 for the promotion"
		}
		malformed = append(malformed, MalformedIntent{
			Annotation: annotationOf[verb],
			Message:    fmt.Sprintf("metadata.annotations[%s]: %q is not %s", annotationOf[verb], text, what),
		})
	}
	return intents, malformed
}

func parseIntent(verb Verb, text string) (Intent, bool) {
	intent := Intent{Verb: verb}
	trial := text
	if verb == Approve {
		var share string
		trial, share, _ = strings.Cut(text, "/")
		intent.Share, _ = strconv.Atoi(share)
	}
	revision, attempt, _ := strings.Cut(trial, ".")
	number, _ := strconv.Atoi(revision)
	intent.Trial.Revision = rollout.Number(number)
	intent.Trial.Attempt, _ = strconv.Atoi(attempt)
	// Only the exact form is valid: no signs, spaces, leading zeros or parts that are missing.
	valid := intent.Value() == text && intent.Trial.Revision > 0 && intent.Trial.Attempt > 0 && intent.Share >= 0 && intent.Share <= 100
	return intent, valid
}
