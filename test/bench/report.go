// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/serinus-io/serinus/test/cluster/local"
)

// The limits.
const (
	limitRatio       = 1.5
	limitMemory      = 120 << 20 // At 1,000 InferenceServices.
	limitMemoryGrown = 350 << 20 // At 5,000.
	sizeOfLimit      = 1000
	sizeOfLimitGrown = 5000
)

// report is everything that was measured.
type report struct {
	options  options
	machine  machine
	compared []comparison
	stages   []*stage
}

func newReport(ctx context.Context, o options, cluster *local.Cluster) *report {
	return &report{options: o, machine: thisMachine(ctx, cluster)}
}

func (r *report) creation(all []comparison) {
	r.compared = slices.SortedFunc(slices.Values(all), func(a, b comparison) int { return cmp.Compare(a.ratio(), b.ratio()) })
}

// median is the round with the median ratio.
func (r *report) median() comparison { return r.compared[len(r.compared)/2] }

// last is the number of InferenceServices that there are.
func (r *report) last() int {
	if len(r.stages) == 0 {
		return 0
	}
	return r.stages[len(r.stages)-1].services
}

// row is a line of the table.
type row struct {
	what, measured, limit string
	missed                bool
}

func (r row) verdict() string {
	switch {
	case r.limit == "":
		return ""
	case r.missed:
		return "**missed**"
	default:
		return "ok"
	}
}

func (r *report) rows() []row {
	var rows []row
	if len(r.compared) > 0 {
		rows = r.creationRows()
	}
	for _, s := range r.stages {
		rows = append(rows, s.rows()...)
	}
	return rows
}

func (r *report) creationRows() []row {
	median := r.median()
	return []row{
		{what: fmt.Sprintf("%s InferenceServices created, until all are Ready", thousands(r.options.services)), measured: seconds(median.operator)},
		{what: "a bare client, for the same writes", measured: seconds(median.bareWritten)},
		{
			what: "ratio", measured: fmt.Sprintf("%.2f", median.ratio()),
			limit: fmt.Sprintf("≤ %.1f", limitRatio), missed: median.ratio() > limitRatio,
		},
		{what: "a bare client, until its peers are done, too", measured: fmt.Sprintf("%s (ratio %.2f)", seconds(median.bareSettled), median.settledRatio())},
	}
}

func (s *stage) rows() []row {
	at := "at " + thousands(s.services) + ": "
	var limit string
	var most int64
	switch {
	case s.services <= sizeOfLimit:
		most = limitMemory
	case s.services <= sizeOfLimitGrown:
		most = limitMemoryGrown
	}
	if most > 0 {
		limit = "≤ " + mebibytes(most)
	}
	none := func(what string, writes []*request) row {
		return row{what: at + what, measured: fmt.Sprintf("%d writes", len(writes)), limit: "0 writes", missed: len(writes) > 0}
	}
	memory := func(what, measured string, most int64, bytes int64) row {
		return row{what: at + what, measured: measured, limit: limit, missed: most > 0 && bytes > most}
	}
	shift := s.shift
	rows := []row{
		{what: fmt.Sprintf("%s%s more created, until all are Ready", at, thousands(s.services-s.madeFrom)), measured: seconds(s.made)},
		{what: fmt.Sprintf("%s%s of them released as canaries, until 10/90 is Ready", at, thousands((s.services-s.madeFrom)/canaryOneIn)), measured: seconds(s.canariesMade)},
		{
			what:     at + "a change of percent",
			measured: fmt.Sprintf("%s route and %s status writes each", each(shift.routes), each(shift.statuses)),
			limit:    "1 and 1, no other", missed: !shift.exact(),
		},
		{what: at + "from the spec's acknowledgement to the route's", measured: percentiles(shift.latency)},
		{what: at + "round trip of a bare write of a route", measured: percentiles(shift.bare)},
		none("a settled minute", s.settled),
		none(fmt.Sprintf("a restart of the operator (%s passes)", thousands(s.restartPasses)), s.restarted),
		memory("resident memory, settled", mebibytes(s.memory.resident), most, s.memory.resident),
		memory("resident memory, peak", mebibytes(s.memory.peak), most, s.memory.peak),
		memory("resident memory after a restart, and its peak",
			mebibytes(s.restartMemory.resident)+", "+mebibytes(s.restartMemory.peak), most, s.restartMemory.peak),
	}
	if s.resyncPasses > 0 {
		rows = append(rows, none(fmt.Sprintf("%d resyncs (%s passes)", resyncs, thousands(s.resyncPasses)), s.resynced))
	}
	return rows
}

// each words how often something happened in each of several cases.
func each(times map[int]int) string {
	if len(times) == 1 {
		for n := range times {
			return fmt.Sprint(n)
		}
	}
	var words []string
	for _, n := range slices.Sorted(maps.Keys(times)) {
		words = append(words, fmt.Sprintf("%d (in %d)", n, times[n]))
	}
	return strings.Join(words, ", ")
}

func (r *report) passed() bool {
	return !slices.ContainsFunc(r.rows(), func(r row) bool { return r.missed })
}

// markdown is the whole report.
func (r *report) markdown() string {
	var out strings.Builder
	out.WriteString("# Benchmark\n\n")
	out.WriteString("Written by `make bench BENCH_ARGS=-update`, which fails if a limit is missed.\n\n")
	out.WriteString(r.machine.markdown())
	out.WriteString("\n| what | measured | limit | |\n|---|---|---|---|\n")
	for _, row := range r.rows() {
		fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", row.what, row.measured, row.limit, row.verdict())
	}
	out.WriteString(r.explanation())
	return out.String()
}

func (r *report) explanation() string {
	var out strings.Builder
	out.WriteString("\n" + how + "\n")
	if len(r.compared) > 0 {
		out.WriteString(r.creationExplained())
	}
	for _, s := range r.stages {
		fmt.Fprintf(&out, "\n## A change of percent, %s times at %s\n\n%s\n", thousands(s.shift.changes), thousands(s.services), howPercent)
		out.WriteString(requestTable([]string{"operator", "for each"},
			func(n []int) string { return fmt.Sprintf("%d | %.2f", n[0], float64(n[0])/float64(s.shift.changes)) },
			tally(filter(s.shift.requests, func(r *request) bool {
				return r.Verb != "watch" && !r.elects() && !strings.HasSuffix(r.ObjectRef.Resource, "reviews") && r.ObjectRef.Resource != ""
			}))))
	}
	return out.String()
}

func (r *report) creationExplained() string {
	var out strings.Builder
	fmt.Fprintf(&out, "## Creation\n\n%s\n", howCreation)
	var ratios []string
	for _, c := range r.compared {
		ratios = append(ratios, fmt.Sprintf("%.2f", c.ratio()))
	}
	fmt.Fprintf(&out, "Ratios of all rounds: %s. The round with the median:\n\n", strings.Join(ratios, ", "))
	median := r.median()
	out.WriteString(requestTable(
		[]string{"operator", "bare client", "operator, for each"},
		func(n []int) string {
			return fmt.Sprintf("%d | %d | %.2f", n[0], n[1], float64(n[0])/float64(r.options.services))
		},
		tally(append(slices.Clone(median.writes), median.reads...)), tally(median.bareWrites)))
	return out.String()
}

const how = `## How it is measured

etcd and kube-apiserver are real and run on this machine, beside this program and
the operator; everybody shares its cores. The operator is its own process, built as
for a release, as its ServiceAccount with its generated role, on the configuration
that is shipped: only its addresses and the namespace of its Lease are changed.
Leader election is on; its Lease, and the event that says who has it, are not counted
as writes, and neither are the reviews of tokens when the metrics are read. All else
that changes an object is, events included where nothing is to be written at all.
Requests are counted in the API server's audit log.

The InferenceServices are those of the first example (sklearn, one ClusterServingRuntime
picked among those that are shipped), each with one replica. What a cluster does with
Deployments and routes is done by peers in this program, with one ready pod for each
replica, one EndpointSlice, one status of the Deployment and one of each generation of
a route.

Memory is VmRSS and VmHWM of the operator's process; the limit holds for both.
`

const howCreation = `Eight requests at a time create the InferenceServices; the clock stops when the last one
is Ready. Then, with the operator stopped, the same is created in another namespace, and
a bare client that works on eight InferenceServices at a time sends for each of them the
very writes that the operator sent, in the same order and with the same bodies, taken
from the audit log; only the names of the namespace, UIDs and resource versions differ.
The clock stops with its last answer. The same peers are at work in both cases.
`

const howPercent = `The percent of one canary after the other is changed at a steady pace, in turn with a
write of a route of the same size by a bare client. Times are from the API server's
acknowledgement of the spec to its acknowledgement of the route. An event tells the user
of the shift of traffic; it is listed, and is not one of the two writes.
`

// requestTable counts requests in columns.
func requestTable(columns []string, cells func([]int) string, counts ...map[kindOfRequest]int) string {
	kinds := map[kindOfRequest]bool{}
	for _, count := range counts {
		for kind := range count {
			kinds[kind] = true
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "| resource | verb | %s |\n|---|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, kind := range slices.SortedFunc(maps.Keys(kinds), func(a, b kindOfRequest) int {
		return cmp.Or(cmp.Compare(a.resource, b.resource), cmp.Compare(a.verb, b.verb))
	}) {
		n := make([]int, len(counts))
		for i, count := range counts {
			n[i] = count[kind]
		}
		fmt.Fprintf(&out, "| %s | %s | %s |\n", kind.resource, kind.verb, cells(n))
	}
	return out.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
func mebibytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

// thousands writes a number with commas.
func thousands(n int) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
