// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package report writes what stories under real traffic have shown as a table:
// what was asked of each, and what the prober saw.
//
// The same report gives the same bytes.
package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/serinus-io/serinus/test/e2e/prober"
)

// Report is all stories, and what they were played on.
type Report struct {
	// Command makes the report.
	Command string    `json:"command"`
	Date    time.Time `json:"date"`
	Machine Machine   `json:"machine"`
	// Versions are of what took part, in the order in which they are listed.
	Versions []Version `json:"versions"`
	// Settings are sentences on what was set otherwise than by default.
	Settings string    `json:"settings,omitempty"`
	Chapters []Chapter `json:"chapters"`
}

// Chapter is stories that belong together, with a table of their own.
type Chapter struct {
	Title string `json:"title"`
	// Text is what is to be said before the table.
	Text    string  `json:"text,omitempty"`
	Stories []Story `json:"stories"`
}

// Version is that of a program.
type Version struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Story is a line of the table.
type Story struct {
	Name     string `json:"name"`
	Requests int    `json:"requests"`
	Errors   int    `json:"errors"`
	// Excused says why there may be errors. A story with errors and without an excuse has failed.
	Excused string  `json:"excused,omitempty"`
	Phases  []Phase `json:"phases"`
	// Rejected is how many requests revisions got that must have got none.
	Rejected int `json:"rejected"`
	// Gap is the longest time between a decision and its traffic. Nothing is said where no decision was made.
	Gap *time.Duration `json:"gap,omitempty"`
	// Elsewhere is what another operator does in the same case, where that is known.
	Elsewhere string `json:"elsewhere,omitempty"`
	// Fault is what else was not as it should be.
	Fault string `json:"fault,omitempty"`
}

// Phase is a part of a story with one split.
type Phase struct {
	Name string `json:"name"`
	// Want is the percent by revision.
	Want map[string]int `json:"want"`
	// Answers are by revision.
	Answers map[string]int `json:"answers"`
}

// Play begins a story with what the prober saw in all.
func Play(name string, all prober.Window) Story {
	summary := all.Summary()
	return Story{Name: name, Requests: summary.Requests, Errors: summary.Failed()}
}

// Reject adds the requests of a window to a revision that must have got none,
// but not those that were still under way at its end: prober.NoRequestsTo says why.
func (s *Story) Reject(w prober.Window, revision string) {
	s.Rejected += len(prober.RequestsTo(w, revision))
}

// Decide adds the time from a decision to its traffic, of which the longest is reported.
func (s *Story) Decide(took time.Duration) {
	if s.Gap == nil || took > *s.Gap {
		s.Gap = &took
	}
}

// failed says what is wrong with a story, if anything.
func (s Story) failed() string {
	var faults []string
	if s.Errors > 0 && s.Excused == "" {
		faults = append(faults, "errors")
	}
	if s.Rejected > 0 {
		faults = append(faults, "requests to rejected revisions")
	}
	if s.Fault != "" {
		faults = append(faults, s.Fault)
	}
	return strings.Join(faults, ", ")
}

// Passed tells whether no story failed, and that there is one.
func (r Report) Passed() bool {
	all := r.stories()
	return len(all) > 0 && !slices.ContainsFunc(all, func(s Story) bool { return s.failed() != "" })
}

func (r Report) stories() []Story {
	var all []Story
	for _, chapter := range r.Chapters {
		all = append(all, chapter.Stories...)
	}
	return all
}

// Markdown is the whole report.
func (r Report) Markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Stories under traffic\n\nWritten by `%s`, which fails if a story does. Do not edit.\n\n", r.Command)
	out.WriteString(r.platform())
	for _, chapter := range r.Chapters {
		out.WriteString(chapter.markdown())
	}
	all := sum(r.stories())
	fmt.Fprintf(&out, "\nAll %d stories together: %s requests, %s errors, %s requests to rejected revisions, longest gap %s.\n",
		all.stories, thousands(all.requests), thousands(all.errors), thousands(all.rejected), gap(all.gap))
	out.WriteString("\n" + how)
	return out.String()
}

// markdown is a chapter with its table. Where another operator is known to do otherwise, that is the last column.
func (c Chapter) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n## %s\n\n", c.Title)
	if c.Text != "" {
		fmt.Fprintf(&out, "%s\n\n", c.Text)
	}
	compares := slices.ContainsFunc(c.Stories, func(s Story) bool { return s.Elsewhere != "" })
	row := func(cells, last string) {
		if compares {
			cells += " " + last + " |"
		}
		out.WriteString(cells + "\n")
	}
	row(header, "what KServe does")
	row(alignment, "---")
	for _, story := range c.Stories {
		row(story.row(), cell(story.Elsewhere))
	}
	all := sum(c.Stories)
	row(fmt.Sprintf("| **all %d** | %s | %s | | | %s | %s | |",
		all.stories, thousands(all.requests), thousands(all.errors), thousands(all.rejected), gap(all.gap)), "")
	return out.String()
}

// total is what stories come to together.
type total struct {
	stories, requests, errors, rejected int
	gap                                 *time.Duration
}

func sum(stories []Story) total {
	all := total{stories: len(stories)}
	for _, story := range stories {
		all.requests += story.Requests
		all.errors += story.Errors
		all.rejected += story.Rejected
		if story.Gap != nil && (all.gap == nil || *story.Gap > *all.gap) {
			all.gap = story.Gap
		}
	}
	return all
}

const (
	header    = "| story | requests | errors | shares wanted, % | shares seen, % | requests to rejected revisions | longest gap between decision and traffic | |"
	alignment = "|---|---:|---:|---|---|---:|---:|---|"
)

const how = `## How it is measured

Clients send requests through the gateway at a constant rate for as long as a story lasts, some over connections that are kept
alive, the others over a new connection each. When a request is due is fixed in advance: a slow answer does not make the next
request later. Each answer names the pod that gave it, and so the revision. An error is whatever is not a right answer of
status 200 by a known revision within the time limit; no request is repeated.

Shares are of answers, each phase on a line of its own, the newest revision last. A request counts by the time at which it was
due. So the shares of a phase, and the requests to a rejected revision, are of requests that were sent after the phase began,
the first one included; only what was under way when it ended is not held against the revision. The gap is the time from a
decision until the first answer of the revision that was decided for, or until the last request to the one decided against.
`

// platform is a paragraph on the machine, and a list of versions.
func (r Report) platform() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s; %s.\n", r.Machine, r.Date.UTC().Format(time.DateOnly))
	if len(r.Versions) > 0 {
		names := make([]string, 0, len(r.Versions))
		for _, v := range r.Versions {
			names = append(names, v.Name+" "+v.Version)
		}
		fmt.Fprintf(&out, "%s.\n", strings.Join(names, ", "))
	}
	if r.Settings != "" {
		fmt.Fprintf(&out, "\n%s\n", r.Settings)
	}
	return out.String()
}

func (s Story) row() string {
	errors := thousands(s.Errors)
	if s.Errors > 0 && s.Excused != "" {
		errors += " (" + cell(s.Excused) + ")"
	}
	var want, seen []string
	for _, phase := range s.Phases {
		revisions := phase.revisions()
		want = append(want, phase.join(revisions, func(revision string) string { return fmt.Sprint(phase.Want[revision]) }))
		seen = append(seen, phase.join(revisions, phase.percent))
	}
	verdict := "ok"
	if fault := s.failed(); fault != "" {
		verdict = "**failed**: " + cell(fault)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |", cell(s.Name), thousands(s.Requests), errors,
		strings.Join(want, "<br>"), strings.Join(seen, "<br>"), thousands(s.Rejected), gap(s.Gap), verdict)
}

// revisions are those that were to answer or did, the oldest first.
func (p Phase) revisions() []string {
	all := map[string]bool{}
	for revision := range p.Want {
		all[revision] = true
	}
	for revision := range p.Answers {
		all[revision] = true
	}
	// A number of more digits is greater.
	return slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
}

func (Phase) join(revisions []string, words func(string) string) string {
	all := make([]string, 0, len(revisions))
	for _, revision := range revisions {
		all = append(all, words(revision))
	}
	return strings.Join(all, " : ")
}

func (p Phase) percent(revision string) string {
	all := 0
	for _, n := range p.Answers {
		all += n
	}
	if all == 0 {
		return "–"
	}
	// Nothing and everything are said without a fraction, and nothing else is.
	switch n := p.Answers[revision]; n {
	case 0, all:
		return fmt.Sprint(100 * n / all)
	default:
		percent := 100 * float64(n) / float64(all)
		if text := fmt.Sprintf("%.1f", percent); text != "0.0" && text != "100.0" {
			return text
		}
		return strconv.FormatFloat(percent, 'g', 4, 64)
	}
}

func gap(d *time.Duration) string {
	if d == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// cell is a text that a cell of a table can hold.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// thousands writes a number with commas.
func thousands(n int) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
