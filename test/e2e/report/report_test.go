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

func given(scenarios ...Scenario) Report {
	return Report{
		Command: "make e2e",
		Date:    time.Date(2026, 11, 24, 23, 30, 0, 0, time.FixedZone("", -3600)),
		Machine: Machine{Processor: "Example 9000", Cores: 2, Memory: 24 << 30, Kernel: "6.1.0-25-amd64", Go: "go1.26.0"},
		Versions: []Version{
			{"Kubernetes", "v1.37.2"}, {"Traefik", "v3.6.0"}, {"Serinus", "v0.2.0-3-gabcdef0"},
		},
		Sections: []Section{{Title: "A section", Scenarios: scenarios}},
	}
}

// window returns a window of requests 10 ms apart, with the given number per revision. The revision
// "" stands for errors.
func window(name string, from time.Duration, counts map[string]int) prober.Window {
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

func rollout() Scenario {
	ten := window("10 %", 0, map[string]int{first: 903, second: 97})
	fifty := window("50 %", ten.To, map[string]int{first: 499, second: 501})
	all := window("all", 0, map[string]int{first: 1402, second: 598})
	scenario := NewScenario("promotion: 10 → 50 → 100 %", all)
	scenario.Phases = []Phase{
		phase(ten, map[string]int{first: 90, second: 10}),
		phase(fifty, map[string]int{first: 50, second: 50}),
		phase(window("100 %", 0, map[string]int{second: 1000}), map[string]int{first: 0, second: 100}),
	}
	scenario.AddGap(410 * time.Millisecond)
	scenario.AddGap(1234 * time.Millisecond)
	scenario.AddGap(20 * time.Millisecond)
	return scenario
}

func restart() Scenario {
	scenario := NewScenario("gateway | restart", window("all", 0, map[string]int{first: 12_000, "": 12}))
	scenario.Outage = "while it is down"
	scenario.Phases = append(scenario.Phases, phase(window("all", 0, map[string]int{first: 12_000}), map[string]int{first: 100}))
	return scenario
}

func compared(scenario Scenario) Report {
	report := given(restart())
	scenario.KServe = "200 of 200 requests | to the canary"
	report.Sections = append(report.Sections, Section{Title: "Others", Text: "Measured elsewhere.", Scenarios: []Scenario{scenario}})
	return report
}

func TestMarkdown(t *testing.T) {
	rejected := NewScenario("rollback of a running canary", window("all", 0, map[string]int{first: 1998, second: 2}))
	rejected.AddRejected(window("rolled back", 0, map[string]int{first: 1000, second: 2}), second)
	rejected.Phases = append(rejected.Phases, phase(window("rolled back", 0, map[string]int{first: 1998, second: 2}), map[string]int{first: 100}))
	crashing := NewScenario("a canary that crashes", window("all", 0, map[string]int{first: 1, "": 3}))
	crashing.Phases = append(crashing.Phases, phase(window("nothing", 0, nil), map[string]int{first: 100}))
	crashing.Fault = "no answer for 3.000 s"

	for name, report := range map[string]Report{
		"passed":   given(rollout(), restart()),
		"failed":   given(rollout(), rejected, crashing),
		"compared": compared(rollout()),
		"empty":    {Command: "make e2e", Machine: Machine{Processor: unknown, Kernel: unknown, Go: "go1.26.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			if passed := report.Passed(); passed != (name == "passed" || name == "compared") {
				t.Errorf("passed: %v", passed)
			}
			have := report.Markdown()
			for range 20 { // The order of maps is random.
				if report.Markdown() != have {
					t.Fatal("Markdown() is not deterministic")
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

// AddRejected must count exactly the requests that NoRequestsTo rejects.
func TestAddRejectedAgreesWithNoRequestsTo(t *testing.T) {
	w := window("rolled back", 0, map[string]int{first: 5, second: 3})
	w.Requests[7].Latency = 11 * time.Millisecond // In flight at the end.
	var scenario Scenario
	scenario.AddRejected(w, second)
	if err := prober.NoRequestsTo(w, second); scenario.Rejected != 2 || err == nil || !strings.Contains(err.Error(), "got 2 of 8 requests") {
		t.Errorf("%d rejected; %v", scenario.Rejected, err)
	}
}

func TestSharesAreNotRoundedToZero(t *testing.T) {
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
