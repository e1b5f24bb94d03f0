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

// The limits and the numbers of InferenceServices that they apply to.
const (
	limitRatio       = 1.5
	limitMemory      = 120 << 20 // At 1,000 InferenceServices.
	limitMemoryGrown = 350 << 20 // At 5,000.
	sizeOfLimit      = 1000
	sizeOfLimitGrown = 5000
)

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

func (r *report) median() comparison { return r.compared[len(r.compared)/2] }

func (r *report) currentServices() int {
	if len(r.stages) == 0 {
		return 0
	}
	return r.stages[len(r.stages)-1].services
}

type row struct {
	what, measured, limit string
	missed                bool
}

func (r row) result() string {
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
		{what: "a bare client, until the fake controllers are done", measured: fmt.Sprintf("%s (ratio %.2f)", seconds(median.bareSettled), median.settledRatio())},
	}
}

func (s *stage) rows() []row {
	at := "at " + thousands(s.services) + ": "
	var limit string
	var maxBytes int64
	switch {
	case s.services <= sizeOfLimit:
		maxBytes = limitMemory
	case s.services <= sizeOfLimitGrown:
		maxBytes = limitMemoryGrown
	}
	if maxBytes > 0 {
		limit = "≤ " + mebibytes(maxBytes)
	}
	none := func(what string, writes []*request) row {
		return row{what: at + what, measured: fmt.Sprintf("%d writes", len(writes)), limit: "0 writes", missed: len(writes) > 0}
	}
	memory := func(what, measured string, maxBytes int64, bytes int64) row {
		return row{what: at + what, measured: measured, limit: limit, missed: maxBytes > 0 && bytes > maxBytes}
	}
	shift := s.shift
	rows := []row{
		{what: fmt.Sprintf("%s%s more created, until all are Ready", at, thousands(s.services-s.previousServices)), measured: seconds(s.createDuration)},
		{what: fmt.Sprintf("%s%s of them released as canaries, until 10/90 is Ready", at, thousands((s.services-s.previousServices)/canaryOneIn)), measured: seconds(s.canaryDuration)},
		{
			what:     at + "a change of percent",
			measured: fmt.Sprintf("%s route and %s status writes each", distribution(shift.routes), distribution(shift.statuses)),
			limit:    "1 and 1, no other", missed: !shift.exact(),
		},
		{what: at + "from the change of the spec to the change of the route", measured: percentiles(shift.latency)},
		{what: at + "round trip of a bare write of a route", measured: percentiles(shift.bare)},
		none("a settled minute", s.settled),
		none(fmt.Sprintf("a restart of the operator (%s reconciliations)", thousands(s.restartReconciliations)), s.restarted),
		memory("resident memory, settled", mebibytes(s.memory.resident), maxBytes, s.memory.resident),
		memory("resident memory, peak", mebibytes(s.memory.peak), maxBytes, s.memory.peak),
		memory("resident memory after a restart, and its peak",
			mebibytes(s.restartMemory.resident)+", "+mebibytes(s.restartMemory.peak), maxBytes, s.restartMemory.peak),
	}
	if s.resyncReconciliations > 0 {
		rows = append(rows, none(fmt.Sprintf("%d resyncs (%s reconciliations)", resyncs, thousands(s.resyncReconciliations)), s.resynced))
	}
	return rows
}

// distribution describes how many InferenceServices had each number of writes.
func distribution(times map[int]int) string {
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

func (r *report) markdown() string {
	var out strings.Builder
	out.WriteString("# Benchmark\n\n")
	out.WriteString("Written by `make bench BENCH_ARGS=-update`, which fails if a limit is missed.\n\n")
	out.WriteString(r.machine.markdown())
	out.WriteString("\n| what | measured | limit | |\n|---|---|---|---|\n")
	for _, row := range r.rows() {
		fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", row.what, row.measured, row.limit, row.result())
	}
	out.WriteString(r.explanation())
	return out.String()
}

func (r *report) explanation() string {
	var out strings.Builder
	out.WriteString("\n" + method + "\n")
	if len(r.compared) > 0 {
		out.WriteString(r.creationSection())
	}
	for _, s := range r.stages {
		fmt.Fprintf(&out, "\n## A change of percent, %s times at %s\n\n%s\n", thousands(s.shift.changes), thousands(s.services), percentMethod)
		out.WriteString(requestTable([]string{"operator", "for each"},
			func(n []int) string { return fmt.Sprintf("%d | %.2f", n[0], float64(n[0])/float64(s.shift.changes)) },
			tally(filter(s.shift.requests, func(r *request) bool {
				return r.Verb != "watch" && !r.isLeaderElection() && !strings.HasSuffix(r.ObjectRef.Resource, "reviews") && r.ObjectRef.Resource != ""
			}))))
	}
	return out.String()
}

func (r *report) creationSection() string {
	var out strings.Builder
	fmt.Fprintf(&out, "## Creation\n\n%s\n", creationMethod)
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

const method = `## How it is measured

etcd and kube-apiserver are real. They run on one machine together with the operator and
the benchmark and share its cores. The operator runs in its own process with a release
build, its ServiceAccount and its generated role. It uses the default configuration except
for its addresses and the namespace of its Lease. Leader election is on.

Requests are counted in the API server's audit log. Every request that changes an object
counts as a write, including events where no writes are allowed. Writes of the Lease, the
event that names its holder, and token reviews for reading metrics do not count.

The InferenceServices are those of the first example (sklearn, with one of the default
ClusterServingRuntimes), each with one replica. Fake controllers in the benchmark act on
Deployments and routes. They create one ready pod for each replica and one EndpointSlice,
update the status of a Deployment once, and that of a route once for each generation.

Memory is VmRSS and VmHWM of the operator's process. The limit applies to both.
`

const creationMethod = `The InferenceServices are created with eight concurrent requests. The time ends when the
last one is Ready. Then the operator is stopped and the same InferenceServices are created
in another namespace. For each of them a bare client sends the writes of the operator from
the audit log, in the same order and with the same bodies except for namespaces, UIDs and
resource versions. It works on eight InferenceServices at a time. The time ends with its
last response. The same fake controllers run in both cases.
`

const percentMethod = `The percent of one canary after another is changed at a steady pace, alternating with a
write of a route of the same size by a bare client. Times are from the API server's
response to the change of the spec to its response to the change of the route. The event
about the traffic shift is listed but is not one of the two writes.
`

func requestTable(columns []string, cells func([]int) string, counts ...map[requestKind]int) string {
	kinds := map[requestKind]bool{}
	for _, count := range counts {
		for kind := range count {
			kinds[kind] = true
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "| resource | verb | %s |\n|---|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, kind := range slices.SortedFunc(maps.Keys(kinds), func(a, b requestKind) int {
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

func thousands(n int) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
