// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseScript(t *testing.T) {
	got, err := parseScript("## One\n\nFirst\nwords.\n\n```sh\na\nb\n```\n\n```sh\nc\n```\n\n```table\nX\n1\n```\n\n## Two\n\n```sh\nd\n```\n\n```excerpt\ne\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []step{
		{heading: "One", prose: "First words.", command: "a\nb"},
		{command: "c", want: expectation{form: "table", text: "X\n1"}},
		{heading: "Two", command: "d", want: expectation{form: "excerpt", text: "e"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(step{}, expectation{})); diff != "" {
		t.Errorf("steps differ (-want +got):\n%s", diff)
	}
}

func TestParseScriptErrors(t *testing.T) {
	for name, tc := range map[string]struct{ given, want string }{
		"a block without an end":           {"```sh\nls\n", "line 1: the block has no end"},
		"an unknown block":                 {"text\n```go\nx\n```\n", `line 2: unexpected block "go"`},
		"an expectation without a command": {"```table\nx\n```\n", `line 1: unexpected block "table"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseScript(tc.given); err == nil || err.Error() != tc.want {
				t.Errorf("got error %v, want %s", err, tc.want)
			}
		})
	}
}

// Each kubectl apply of the walkthrough is followed by a command with an expected output.
func TestWalkthroughChecksEachChange(t *testing.T) {
	steps, err := parseScript(walkthrough)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range steps {
		if !strings.HasPrefix(s.command, "kubectl apply") {
			continue
		}
		if i+1 == len(steps) || steps[i+1].want.form == "" {
			t.Errorf("no command with an expected output follows:\n%s", s.command)
		}
	}
}

func TestExcerpt(t *testing.T) {
	e := expectation{form: "excerpt", text: "traffic:\n- percent: 10\n  tag: latest"}
	for name, tc := range map[string]struct {
		given string
		found bool
	}{
		"deeply indented":       {"status:\n    traffic:\n    - percent: 10\n      tag: latest\n  url: x", true},
		"at the very end":       {"status:\n  traffic:\n  - percent: 10\n    tag: latest", true},
		"with another value":    {"  traffic:\n  - percent: 20\n    tag: latest", false},
		"with a line in it":     {"  traffic:\n  - percent: 10\n    x: y\n    tag: latest", false},
		"with uneven indents":   {"  traffic:\n- percent: 10\n    tag: latest", false},
		"of another key's tail": {"  nottraffic:\n  - percent: 10\n    tag: latest", false},
		"in too short a text":   {"traffic:", false},
	} {
		t.Run(name, func(t *testing.T) {
			if differences := e.differences(tc.given); (len(differences) == 0) != tc.found {
				t.Errorf("got differences %q, want it found: %t", differences, tc.found)
			}
		})
	}
}
