// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serinus-io/serinus/test/e2e/prober"
)

var update = flag.Bool("update", false, "write the reports in testdata instead of comparing with them")

const (
	first  = "sklearn-iris-predictor-00001"
	second = "sklearn-iris-predictor-00002"
)

// given is what a machine and its programs could be.
func given(stories ...Story) Report {
	return Report{
		Command: "make e2e",
		Date:    time.Date(2026, 11, 24, 23, 30, 0, 0, time.FixedZone("", -3600)),
		Machine: Machine{Processor: "Example 9000", Cores: 2, Memory: 24 << 30, Kernel: "6.1.0-25-amd64", Go: "go1.26.0"},
		Versions: []Version{
			{"Kubernetes", "v1.37.2"}, {"Traefik", "v3.6.0"}, {"Serinus", "v0.2.0-3-gabcdef0"},
		},
		Chapters: []Chapter{{Title: "A chapter", Stories: stories}},
	}
}

// seen are so many requests, 10 ms apart, each revision's in a row.
func seen(name string, from time.Duration, counts map[string]int) prober.Window {
	w := prober.Window{Name: name, From: from, To: from}
	for _, revision := range []string{first, second, ""} {
		for range counts[revision] {
			request := prober.Request{Due: w.To, Latency: time.Millisecond, Revision: revision}
			if revision == "" {
				request.Error = prober.Refused
			}
			w.Requests = append(w.Requests, request)
			w.To += 10 * time.Millisecond
		}
	}
	return w
}

func phase(w prober.Window, want map[string]int) Phase {
	return Phase{Name: w.Name, Want: want, Answers: w.Answers()}
}

func rollout() Story {
	ten := seen("10 %", 0, map[string]int{first: 903, second: 97})
	fifty := seen("50 %", ten.To, map[string]int{first: 499, second: 501})
	all := seen("all", 0, map[string]int{first: 1402, second: 598})
	story := Play("promotion: 10 → 50 → 100 %", all)
	story.Phases = []Phase{
		phase(ten, map[string]int{first: 90, second: 10}),
		phase(fifty, map[string]int{first: 50, second: 50}),
		phase(seen("100 %", 0, map[string]int{second: 1000}), map[string]int{first: 0, second: 100}),
	}
	story.Decide(410 * time.Millisecond)
	story.Decide(1234 * time.Millisecond)
	story.Decide(20 * time.Millisecond)
	return story
}

func restart() Story {
	story := Play("gateway | restart", seen("all", 0, map[string]int{first: 12_000, "": 12}))
	story.Excused = "while it is down"
	story.Phases = append(story.Phases, phase(seen("all", 0, map[string]int{first: 12_000}), map[string]int{first: 100}))
	return story
}

// compared is a report with a second chapter, on what others do in the same cases.
func compared(story Story) Report {
	report := given(restart())
	story.Elsewhere = "200 of 200 requests | to the canary"
	report.Chapters = append(report.Chapters, Chapter{Title: "Others", Text: "Measured elsewhere.", Stories: []Story{story}})
	return report
}

func TestMarkdown(t *testing.T) {
	rejected := Play("rollback of a running canary", seen("all", 0, map[string]int{first: 1998, second: 2}))
	rejected.Reject(seen("rolled back", 0, map[string]int{first: 1000, second: 2}), second)
	rejected.Phases = append(rejected.Phases, phase(seen("rolled back", 0, map[string]int{first: 1998, second: 2}), map[string]int{first: 100}))
	broken := Play("a canary that crashes", seen("all", 0, map[string]int{first: 1, "": 3}))
	broken.Phases = append(broken.Phases, phase(seen("nothing", 0, nil), map[string]int{first: 100}))
	broken.Fault = "silent for 3.000 s"

	for name, report := range map[string]Report{
		"passed":   given(rollout(), restart()),
		"failed":   given(rollout(), rejected, broken),
		"compared": compared(rollout()),
		"empty":    {Command: "make e2e", Machine: Machine{Processor: unknown, Kernel: unknown, Go: "go1.26.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			if passed := report.Passed(); passed != (name == "passed" || name == "compared") {
				t.Errorf("passed: %v", passed)
			}
			have := report.Markdown()
			for range 20 { // Maps come in any order.
				if report.Markdown() != have {
					t.Fatal("written again, it is not the same")
				}
			}
			file := filepath.Join("testdata", name+".md")
			if *update {
				if err := os.WriteFile(file, []byte(have), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; write it with go test ./test/e2e/report -update", err)
			}
			if diff := cmp.Diff(string(want), have); diff != "" {
				t.Errorf("-want +got, or run with -update:\n%s", diff)
			}
		})
	}
}

// TestRejectAgreesWithTheAssertion: the report counts what NoRequestsTo finds fault with.
func TestRejectAgreesWithTheAssertion(t *testing.T) {
	w := seen("rolled back", 0, map[string]int{first: 5, second: 3})
	w.Requests[7].Latency = 11 * time.Millisecond // Still under way at the end.
	var story Story
	story.Reject(w, second)
	if err := prober.NoRequestsTo(w, second); story.Rejected != 2 || err == nil || !strings.Contains(err.Error(), "got 2 of 8 requests") {
		t.Errorf("%d rejected; %v", story.Rejected, err)
	}
}

// TestSharesAreNotRoundedToNothing: one request is not no request.
func TestSharesAreNotRoundedToNothing(t *testing.T) {
	phase := Phase{Answers: map[string]int{first: 9999, second: 1}}
	if have := phase.percent(second) + ", " + phase.percent(first) + ", " + phase.percent("third"); have != "0.01, 99.99, 0" {
		t.Error(have)
	}
}

func TestThisMachine(t *testing.T) {
	m := ThisMachine()
	if m.Cores < 1 || !strings.HasPrefix(m.Go, "go") && !strings.HasPrefix(m.Go, "devel") {
		t.Errorf("%+v", m)
	}
	if _, err := os.Stat("/proc/meminfo"); err == nil && (m.Memory < 1<<20 || m.Kernel == unknown) {
		t.Errorf("%+v", m)
	}
	if kibibytes := bytes("2048 kB"); kibibytes != 2<<20 {
		t.Errorf("2048 kB are %d bytes", kibibytes)
	}
}
