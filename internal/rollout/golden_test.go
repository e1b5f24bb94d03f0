// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the traces of this run to testdata")

// trace is a readable log of a simulation.
type trace struct {
	// brief omits the lines that are useful only for debugging.
	brief bool
	lines []line
}

// line is one event or write, with the state after it.
type line struct {
	at                         time.Duration
	who, what                  string
	served, written, workloads string
}

func (s *trace) add(sim *simulation, who, what string) {
	if s.brief && (strings.HasPrefix(what, "picks up") || strings.HasPrefix(what, "says") || strings.HasPrefix(what, "makes")) {
		return
	}
	written := "-"
	if sim.route != nil {
		written = sim.route.desired.String()
	}
	s.lines = append(s.lines, line{
		at: sim.now.Sub(testNow), who: who, what: what,
		served: sim.gateway.main.serves.String(), written: written, workloads: sim.workloadsText(),
	})
}

// workloadsText lists the ready and the desired pods of each revision.
func (sim *simulation) workloadsText() string {
	var words []string
	for _, n := range numbers(sim.deployments) {
		d := sim.deployments[n]
		words = append(words, fmt.Sprintf("%d: %d/%d", n, d.count(ready), d.replicas))
	}
	return strings.Join(words, "  ")
}

// String formats the trace as a table with a paragraph for each action of the user.
func (s *trace) String() string {
	rows := [][]string{{"TIME", "WHO", "WHAT", "SERVED", "WRITTEN", "READY PODS"}}
	for _, l := range s.lines {
		clock := fmt.Sprintf("%d:%02d", int(l.at.Minutes()), int(l.at.Seconds())%60)
		rows = append(rows, []string{clock, l.who, l.what, l.served, l.written, l.workloads})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for _, row := range rows {
		if row[1] == "user" {
			text.WriteString("\n")
		}
		var cells strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&cells, "%-*s  ", widths[i], cell)
		}
		text.WriteString(strings.TrimRight(cells.String(), " ") + "\n")
	}
	return text.String()
}

// script is a rollout with timed steps of the user and realistic delays of the fake controllers.
type script struct {
	about string
	begin func(*simulation)
	// gatewayDelay is how long the gateway takes to program a route, at least two seconds.
	gatewayDelay time.Duration
	steps        []step
	ends         time.Duration
	// every is called at the end of each second; it can be nil.
	every func(*simulation)
}

type step struct {
	at time.Duration
	do func(*simulation)
}

// edits returns a step in which the user edits the spec.
func edits(at time.Duration, what string, change func(*spec)) step {
	return step{at: at, do: func(sim *simulation) { sim.edit(what, change) }}
}

// kubectlGet returns a step that logs the columns of kubectl get.
func kubectlGet(at time.Duration) step {
	return step{at: at, do: func(sim *simulation) {
		split, target := sim.reported.Split, sim.reported.Target
		latest, prev := Latest(split, target), Prev(split, target)
		column := func(name string, shown bool, value any) string {
			if !shown {
				value = "-"
			}
			return fmt.Sprintf("%s=%v", name, value)
		}
		sim.log("kubectl", "%s", strings.Join([]string{
			column("PREV", prev != 0, split.Percent(prev)), column("LATEST", latest != 0, split.Percent(latest)),
			column("PREVROLLEDOUT", prev != 0, prev), column("LATESTREADY", latest != 0, latest),
		}, " "))
	}}
}

const (
	loadTime         = 40 * time.Second
	stopTime         = 5 * time.Second
	deadline         = 2 * time.Minute
	autoscalerPeriod = 15 * time.Second
)

// scriptRunner plays a script second by second. The operator reconciles only after an event, or at
// WakeAt.
type scriptRunner struct {
	*simulation
	script
	handled int
	wakeAt  time.Time
}

func (s script) play() *simulation {
	d := &scriptRunner{simulation: newSimulation(), script: s}
	d.trace, d.failingHash = &trace{brief: true}, hashOf(5)
	if s.begin != nil {
		s.begin(d.simulation)
	}
	steps := s.steps
	for second := time.Duration(0); second <= s.ends; second += time.Second {
		for ; len(steps) > 0 && steps[0].at == second; steps = steps[1:] {
			steps[0].do(d.simulation)
			d.operate()
		}
		d.movePods()
		d.moveGateway()
		if second%autoscalerPeriod == 0 {
			for _, n := range numbers(d.deployments) {
				d.autoscale(n)
			}
		}
		d.operate()
		if s.every != nil {
			s.every(d.simulation)
		}
		d.advance(time.Second)
	}
	return d.simulation
}

func (d *scriptRunner) operate() {
	for d.events != d.handled || !d.wakeAt.IsZero() && !d.now.Before(d.wakeAt) {
		d.handled = d.events
		_, d.wakeAt = d.reconcile()
	}
}

func (d *scriptRunner) movePods() {
	for _, n := range numbers(d.deployments) {
		d.deploy(n)
		for _, pod := range slices.Clone(d.deployments[n].pods) {
			age := d.now.Sub(pod.since)
			switch {
			case pod.state == starting && age >= deadline:
				d.exceedDeadline(n)
			case pod.state == starting && age >= loadTime:
				d.start(n)
			case pod.state == stopping && age >= stopTime:
				d.stop(n)
			}
		}
	}
}

func (d *scriptRunner) moveGateway() {
	for d.pickUp() {
	}
	delay := max(d.gatewayDelay, 2*time.Second)
	if d.gateway.main.pendingFor(d.now) < delay && d.gateway.hosts.pendingFor(d.now) < delay {
		return
	}
	for busy := true; busy; {
		busy = d.serve() || d.accept()
	}
}

// scripts are the scripts by the name of their golden file.
var scripts = map[string]script{
	"walkthrough": {
		about: "The walkthrough of the document: deploy, canary, promote, roll back to a revision that was scaled away, tags.",
		ends:  31 * time.Minute,
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			kubectlGet(79 * time.Second),
			edits(9*time.Minute, "applies model b, percent 10", model(2, new(10))),
			kubectlGet(11 * time.Minute),
			edits(17*time.Minute, "removes the percent", percent(nil)),
			kubectlGet(18 * time.Minute),
			edits(20*time.Minute, "sets percent 0", percent(0)),
			kubectlGet(22 * time.Minute),
			edits(28*time.Minute, "turns tags on (annotation: model c), percent 10", func(s *spec) {
				model(3, new(10))(s)
				s.Tagged = true
			}),
			kubectlGet(30 * time.Minute),
		},
	},
	"failing-canary": {
		about: "A canary that never starts gets nothing; a canary that loses its pods loses its share until they are back.",
		ends:  12 * time.Minute,
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			edits(2*time.Minute, "applies model e, which never starts, percent 20", model(5, new(20))),
			kubectlGet(5 * time.Minute),
			edits(6*time.Minute, "applies model b, percent 20", model(2, new(20))),
			kubectlGet(8 * time.Minute),
			{at: 9 * time.Minute, do: func(sim *simulation) { sim.crash(3) }},
			kubectlGet(9*time.Minute + 20*time.Second),
			kubectlGet(11 * time.Minute),
		},
	},
	"supersession": {
		about: "A canary at 10 is superseded: it gets nothing from then on, also while its successor loads.",
		ends:  8 * time.Minute,
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			edits(2*time.Minute, "applies model b, percent 10", model(2, new(10))),
			edits(4*time.Minute, "applies model c, percent 30", model(3, new(30))),
			kubectlGet(4*time.Minute + 10*time.Second),
			kubectlGet(6 * time.Minute),
		},
	},
	"abort": {
		about: "In the middle of a canary at 10 the spec returns to the stable, with the percent still there: no rollback.",
		ends:  10 * time.Minute,
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			edits(2*time.Minute, "applies model b", model(2, nil)),
			edits(5*time.Minute, "applies model c, percent 10", model(3, new(10))),
			kubectlGet(6 * time.Minute),
			edits(7*time.Minute, "applies model b again, percent 10", model(2, new(10))),
			kubectlGet(8 * time.Minute),
		},
	},
	"autoscaled-promotion": {
		about: "Five replicas' worth of traffic is promoted in steps; each share waits for its replicas, which are then held.",
		ends:  16 * time.Minute,
		begin: func(sim *simulation) {
			sim.load = 5
			autoscaled(&sim.spec)
		},
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			edits(3*time.Minute, "applies model b, percent 20", model(2, new(20))),
			edits(6*time.Minute, "sets percent 50", percent(50)),
			edits(9*time.Minute, "removes the percent", percent(nil)),
			kubectlGet(10 * time.Minute),
			{at: 11 * time.Minute, do: func(sim *simulation) {
				sim.load = 2
				sim.log("traffic", "falls to what two replicas take")
			}},
		},
	},
	"slow-gateway": {
		about:        "A promotion is undone while the gateway takes 90 seconds for each route: nothing retires before it is done.",
		ends:         10 * time.Minute,
		gatewayDelay: 90 * time.Second,
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			edits(3*time.Minute, "applies model b", model(2, nil)),
			edits(4*time.Minute, "sets percent 0", percent(0)),
			kubectlGet(5 * time.Minute),
			kubectlGet(7 * time.Minute),
		},
	},
	"stop-and-resume": {
		about: "A canary is stopped and resumed: nothing is forgotten.",
		ends:  9 * time.Minute,
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			edits(2*time.Minute, "applies model b, percent 10", model(2, new(10))),
			edits(4*time.Minute, "stops it", stop(true)),
			kubectlGet(5 * time.Minute),
			edits(6*time.Minute, "resumes it", stop(false)),
			kubectlGet(7 * time.Minute),
		},
	},
}

// TestGolden compares the traces of the scripts with testdata.
func TestGolden(t *testing.T) {
	all := maps.Clone(scripts)
	maps.Copy(all, planScripts)
	for name, script := range all {
		t.Run(name, func(t *testing.T) {
			sim := script.play()
			for _, b := range sim.checker.violations {
				t.Errorf("rule %d: %s", b.rule, b.how)
			}
			got := script.about + "\n\n" + sim.trace.String()
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(strings.Split(golden(t, name), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s (-want +got); run with -update to accept the new trace:\n%s", file, diff)
			}
		})
	}
}

// golden returns the trace of a script in testdata.
func golden(t *testing.T, script string) string {
	t.Helper()
	trace, err := os.ReadFile(filepath.Join("testdata", script+".golden"))
	if err != nil {
		t.Fatal(err)
	}
	return string(trace)
}
