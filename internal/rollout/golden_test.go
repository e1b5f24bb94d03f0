// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the stories of this run to testdata")

// story is what happened in a world, line by line, for a person to read.
type story struct {
	// brief leaves out what only matters to find out what went wrong.
	brief bool
	lines []line
}

// line is one event or write, and how the world is after it.
type line struct {
	at                         time.Duration
	who, what                  string
	served, written, workloads string
}

func (s *story) add(w *world, who, what string) {
	if s.brief && (strings.HasPrefix(what, "picks up") || strings.HasPrefix(what, "says") || strings.HasPrefix(what, "makes")) {
		return
	}
	written := "-"
	if w.route != nil {
		written = w.route.says.String()
	}
	s.lines = append(s.lines, line{
		at: w.now.Sub(testNow), who: who, what: what,
		served: w.gateway.main.serves.String(), written: written, workloads: w.workloadsText(),
	})
}

// workloadsText tells how many pods of each revision are ready, of how many that are asked for.
func (w *world) workloadsText() string {
	var words []string
	for _, n := range numbers(w.deployments) {
		d := w.deployments[n]
		words = append(words, fmt.Sprintf("%d: %d/%d", n, d.count(ready), d.replicas))
	}
	return strings.Join(words, "  ")
}

// String is the story as a table. What a user does begins a paragraph.
func (s *story) String() string {
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

// script is a rollout that is played by the clock: the user acts when the script says, and the peers take their time.
type script struct {
	about string
	// begin sets the world up.
	begin func(*world)
	// gatewayTakes is how long the gateway takes to serve what was written; not less than two seconds.
	gatewayTakes time.Duration
	acts         []act
	ends         time.Duration
}

type act struct {
	at time.Duration
	do func(*world)
}

// asks is a user's edit of the spec.
func asks(at time.Duration, what string, change func(*spec)) act {
	return act{at: at, do: func(w *world) { w.edit(what, change) }}
}

// gets prints what kubectl get prints.
func gets(at time.Duration) act {
	return act{at: at, do: func(w *world) {
		split, target := w.reported.Split, w.reported.Target
		latest, prev := Latest(split, target), Prev(split, target)
		column := func(name string, shown bool, value any) string {
			if !shown {
				value = "-"
			}
			return fmt.Sprintf("%s=%v", name, value)
		}
		w.tell("kubectl", "%s", strings.Join([]string{
			column("PREV", prev != 0, split.Percent(prev)), column("LATEST", latest != 0, split.Percent(latest)),
			column("PREVROLLEDOUT", prev != 0, prev), column("LATESTREADY", latest != 0, latest),
		}, " "))
	}}
}

// modelLoads is how long a model takes to load, podStops how long a pod takes to stop, and deadline how long a
// deployment may take to become ready. The autoscaler looks at the load in turns.
const (
	modelLoads      = 40 * time.Second
	podStops        = 5 * time.Second
	deadline        = 2 * time.Minute
	autoscalerTurns = 15 * time.Second
)

// director plays a script, second by second. The operator acts only when something has changed, or when it has asked
// to be woken.
type director struct {
	*world
	script
	heard  int
	wakeAt time.Time
}

func (s script) play() *world {
	d := &director{world: newWorld(), script: s}
	d.story, d.broken = &story{brief: true}, inputs(5)
	if s.begin != nil {
		s.begin(d.world)
	}
	acts := s.acts
	for second := time.Duration(0); second <= s.ends; second += time.Second {
		for ; len(acts) > 0 && acts[0].at == second; acts = acts[1:] {
			acts[0].do(d.world)
			d.operate()
		}
		d.movePods()
		d.moveGateway()
		if second%autoscalerTurns == 0 {
			for _, n := range numbers(d.deployments) {
				d.autoscale(n)
			}
		}
		d.operate()
		d.advance(time.Second)
	}
	return d.world
}

func (d *director) operate() {
	for d.told != d.heard || !d.wakeAt.IsZero() && !d.now.Before(d.wakeAt) {
		d.heard = d.told
		_, d.wakeAt = d.pass()
	}
}

func (d *director) movePods() {
	for _, n := range numbers(d.deployments) {
		d.deploy(n)
		for _, pod := range slices.Clone(d.deployments[n].pods) {
			age := d.now.Sub(pod.since)
			switch {
			case pod.state == starting && age >= deadline:
				d.giveUp(n)
			case pod.state == starting && age >= modelLoads:
				d.start(n)
			case pod.state == stopping && age >= podStops:
				d.stop(n)
			}
		}
	}
}

func (d *director) moveGateway() {
	for d.pickUp() {
	}
	takes := max(d.gatewayTakes, 2*time.Second)
	if d.gateway.main.takes(d.now) < takes && d.gateway.hosts.takes(d.now) < takes {
		return
	}
	for busy := true; busy; {
		busy = d.serve() || d.say()
	}
}

// scripts are the stories, by the names of their files.
var scripts = map[string]script{
	"walkthrough": {
		about: "The walkthrough of the document: deploy, canary, promote, roll back to a revision that was scaled away, tags.",
		ends:  31 * time.Minute,
		acts: []act{
			asks(0, "applies model a", model(1, nil)),
			gets(79 * time.Second),
			asks(9*time.Minute, "applies model b, percent 10", model(2, new(10))),
			gets(11 * time.Minute),
			asks(17*time.Minute, "removes the percent", percent(nil)),
			gets(18 * time.Minute),
			asks(20*time.Minute, "sets percent 0", percent(0)),
			gets(22 * time.Minute),
			asks(28*time.Minute, "turns tags on (annotation: model c), percent 10", func(s *spec) {
				model(3, new(10))(s)
				s.Tagged = true
			}),
			gets(30 * time.Minute),
		},
	},
	"failing-canary": {
		about: "A canary that never starts gets nothing; a canary that loses its pods loses its share until they are back.",
		ends:  12 * time.Minute,
		acts: []act{
			asks(0, "applies model a", model(1, nil)),
			asks(2*time.Minute, "applies model e, which never starts, percent 20", model(5, new(20))),
			gets(5 * time.Minute),
			asks(6*time.Minute, "applies model b, percent 20", model(2, new(20))),
			gets(8 * time.Minute),
			{at: 9 * time.Minute, do: func(w *world) { w.crash(3) }},
			gets(9*time.Minute + 20*time.Second),
			gets(11 * time.Minute),
		},
	},
	"supersession": {
		about: "A canary at 10 is superseded: it gets nothing from then on, also while its successor loads.",
		ends:  8 * time.Minute,
		acts: []act{
			asks(0, "applies model a", model(1, nil)),
			asks(2*time.Minute, "applies model b, percent 10", model(2, new(10))),
			asks(4*time.Minute, "applies model c, percent 30", model(3, new(30))),
			gets(4*time.Minute + 10*time.Second),
			gets(6 * time.Minute),
		},
	},
	"abort": {
		about: "In the middle of a canary at 10 the spec returns to the stable, with the percent still there: no rollback.",
		ends:  10 * time.Minute,
		acts: []act{
			asks(0, "applies model a", model(1, nil)),
			asks(2*time.Minute, "applies model b", model(2, nil)),
			asks(5*time.Minute, "applies model c, percent 10", model(3, new(10))),
			gets(6 * time.Minute),
			asks(7*time.Minute, "applies model b again, percent 10", model(2, new(10))),
			gets(8 * time.Minute),
		},
	},
	"autoscaled-promotion": {
		about: "Five replicas' worth of traffic is promoted in steps; each share waits for its replicas, which are then held.",
		ends:  16 * time.Minute,
		begin: func(w *world) {
			w.load = 5
			autoscaled(&w.spec)
		},
		acts: []act{
			asks(0, "applies model a", model(1, nil)),
			asks(3*time.Minute, "applies model b, percent 20", model(2, new(20))),
			asks(6*time.Minute, "sets percent 50", percent(50)),
			asks(9*time.Minute, "removes the percent", percent(nil)),
			gets(10 * time.Minute),
			{at: 11 * time.Minute, do: func(w *world) {
				w.load = 2
				w.tell("traffic", "falls to what two replicas take")
			}},
		},
	},
	"slow-gateway": {
		about:        "A promotion is undone while the gateway takes 90 seconds for each route: nothing retires before it is done.",
		ends:         10 * time.Minute,
		gatewayTakes: 90 * time.Second,
		acts: []act{
			asks(0, "applies model a", model(1, nil)),
			asks(3*time.Minute, "applies model b", model(2, nil)),
			asks(4*time.Minute, "sets percent 0", percent(0)),
			gets(5 * time.Minute),
			gets(7 * time.Minute),
		},
	},
	"stop-and-resume": {
		about: "A canary is stopped and resumed: nothing is forgotten.",
		ends:  9 * time.Minute,
		acts: []act{
			asks(0, "applies model a", model(1, nil)),
			asks(2*time.Minute, "applies model b, percent 10", model(2, new(10))),
			asks(4*time.Minute, "stops it", stop(true)),
			gets(5 * time.Minute),
			asks(6*time.Minute, "resumes it", stop(false)),
			gets(7 * time.Minute),
		},
	},
}

// TestGolden plays the scripts and compares their stories with those in testdata, where a person can read them.
func TestGolden(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			w := script.play()
			for _, b := range w.witness.breaches {
				t.Errorf("rule %d: %s", b.rule, b.how)
			}
			got := script.about + "\n\n" + w.story.String()
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s tells another story (-want +got); if it is the right one, run with -update:\n%s", file, diff)
			}
		})
	}
}
