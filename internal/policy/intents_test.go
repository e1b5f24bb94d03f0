// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serinus-io/serinus/internal/rollout"
)

func TestParseIntents(t *testing.T) {
	got, malformed := ParseIntents(map[string]string{
		"serinus.io/retry":         "2.2",
		"serinus.io/approve":       "2.1/50",
		"serinus.io/promote":       "10.3",
		"serinus.io/pause":         "2.1",
		"serinus.io/abort":         "3.1",
		"serinus.io/canary-policy": "standard",
		"serinus.io/other":         "2.1",
	})
	want := []Intent{
		{Verb: Abort, Trial: trial(3, 1)},
		{Verb: Pause, Trial: trial(2, 1)},
		{Verb: Promote, Trial: trial(10, 3)},
		{Verb: Approve, Trial: trial(2, 1), Share: 50},
		{Verb: Retry, Trial: trial(2, 2)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("intents (-want +got):\n%s", diff)
	}
	if len(malformed) > 0 {
		t.Errorf("malformed: %v", malformed)
	}
}

func TestApprovedShares(t *testing.T) {
	for text, share := range map[string]int{"2.1/0": 0, "2.1/7": 7, "2.1/100": 100} {
		got, _ := ParseIntents(map[string]string{"serinus.io/approve": text})
		if diff := cmp.Diff([]Intent{{Verb: Approve, Trial: trial(2, 1), Share: share}}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestMalformedIntents(t *testing.T) {
	const (
		trial    = ` is not a trial: write the revision and the attempt, such as 2.1`
		approval = ` is not a trial and a share: write the revision, the attempt and the percentage, such as 2.1/50, or 2.1/100 for the promotion`
	)
	tests := map[string]map[string]string{
		"serinus.io/pause": {
			"": trial, "true": trial, "2": trial, "2.": trial, "2.0": trial, "0.1": trial, "-2.1": trial, "+2.1": trial, "02.1": trial,
			"2.1" + " ": trial, "2.1.1": trial, "2.1/50": trial, "2,1": trial, "99999999999999999999.1": trial,
		},
		"serinus.io/approve": {
			"": approval, "2.1": approval, "2.1/": approval, "2.1/101": approval, "2.1/-1": approval, "2.1/50%": approval, "2.1/050": approval,
			"50": approval, "/50": approval, "2.1/50/1": approval,
		},
	}
	for annotation, values := range tests {
		for value, message := range values {
			intents, got := ParseIntents(map[string]string{annotation: value})
			want := []MalformedIntent{{annotation, `metadata.annotations[` + annotation + `]: "` + value + `"` + message}}
			if diff := cmp.Diff(want, got); diff != "" || len(intents) > 0 {
				t.Errorf("%q gives intents %v (-want +got):\n%s", value, intents, diff)
			}
		}
	}
}

func TestIntentsNameTheCurrentTrial(t *testing.T) {
	current := trial(2, 1)
	tests := map[Intent]bool{
		{Verb: Pause, Trial: trial(2, 1)}:   true,
		{Verb: Pause, Trial: trial(2, 2)}:   false,
		{Verb: Pause, Trial: trial(1, 1)}:   false,
		{Verb: Approve, Trial: trial(2, 1)}: true,
		{Verb: Abort, Trial: trial(3, 1)}:   false,
		{Verb: Promote, Trial: trial(2, 2)}: false,
		// The retry that is asked for, and the one that led to the current trial.
		{Verb: Retry, Trial: trial(2, 2)}: true,
		{Verb: Retry, Trial: trial(2, 1)}: true,
		{Verb: Retry, Trial: trial(2, 3)}: false,
		{Verb: Retry, Trial: trial(3, 2)}: false,
	}
	for intent, want := range tests {
		if got := intent.Names(current); got != want {
			t.Errorf("%s %s for trial %s: got %v, want %v", intent.Verb, intent.Value(), current, got, want)
		}
	}
}

func TestCommandsCanBeParsed(t *testing.T) {
	for _, intent := range []Intent{
		{Verb: Approve, Trial: trial(2, 1), Share: 50},
		{Verb: Retry, Trial: trial(2, 1).Next()},
	} {
		got, _ := ParseIntents(map[string]string{intent.Annotation(): intent.Value()})
		if diff := cmp.Diff([]Intent{intent}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	got := Intent{Verb: Approve, Trial: trial(2, 1), Share: 50}.Command("shop", "iris")
	if want := "kubectl annotate isvc -n shop iris --overwrite serinus.io/approve=2.1/50"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func trial(revision rollout.Number, attempt int) rollout.TrialID {
	return rollout.TrialID{Revision: revision, Attempt: attempt}
}
