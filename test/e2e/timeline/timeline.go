// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package timeline draws what the prober saw of one story: the share of each
// revision over time, with the story's marks, and below it the requests and the
// errors.
//
// A picture is one SVG file with nothing to load, that says in words what it
// shows, in colours for light and for dark pages. The same chart gives the same
// bytes.
package timeline

import (
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/serinus-io/serinus/test/e2e/prober"
)

// Chart is what a picture shows.
type Chart struct {
	Title string `json:"title"`
	// Note says how the requests were sent.
	Note    string           `json:"note,omitempty"`
	Total   prober.Summary   `json:"total"`
	Phases  []prober.Summary `json:"phases"`  // Between marks; told in the description.
	Buckets []prober.Summary `json:"buckets"` // Drawn.
	Marks   []prober.Mark    `json:"marks"`
}

// Of charts results in buckets of a width, which begin anew at each mark: what
// was before a mark is never drawn behind it. A second suits most stories; below
// some fifty requests a bucket, a share that is constant looks restless.
func Of(title, note string, results prober.Results, width time.Duration) Chart {
	c := Chart{
		Title: title, Note: note, Total: results.All().Summary(), Marks: results.Marks,
		Phases: summaries(results.Windows()),
	}
	for _, phase := range results.Windows() {
		c.Buckets = append(c.Buckets, summaries(phase.Buckets(width))...)
	}
	return c
}

func summaries(windows []prober.Window) []prober.Summary {
	all := make([]prober.Summary, 0, len(windows))
	for _, w := range windows {
		all = append(all, w.Summary())
	}
	return all
}

//go:embed timeline.svg.tmpl
var source string

var picture = texttemplate.Must(texttemplate.New("timeline").Funcs(texttemplate.FuncMap{
	"text": template.HTMLEscapeString, // What it escapes, it escapes for XML, too.
	"n":    number,
	"add":  func(a, b float64) float64 { return a + b },
	"sub":  func(a, b int) int { return a - b },
}).Parse(source))

// SVG is the picture.
func (c Chart) SVG() (string, error) {
	if len(c.Buckets) == 0 || c.Total.Requests == 0 {
		return "", fmt.Errorf("timeline %q: no requests to draw", c.Title)
	}
	var out strings.Builder
	if err := picture.Execute(&out, newLayout(c)); err != nil {
		return "", fmt.Errorf("timeline %q: %w", c.Title, err)
	}
	return out.String(), nil
}

// mostBuckets are as many as can be told apart; mostShares, of all revisions
// together, keep the file small.
const (
	mostBuckets = 240
	mostShares  = 400
)

// drawn are the buckets, put together where there are too many.
func (c Chart) drawn() []prober.Summary {
	most := max(1, min(mostBuckets, mostShares/max(1, len(c.Total.Answers))))
	together := (len(c.Buckets) + most - 1) / most
	var drawn []prober.Summary
	for _, phase := range c.Phases {
		inside := slices.DeleteFunc(slices.Clone(c.Buckets), func(b prober.Summary) bool { return b.From < phase.From || b.To > phase.To })
		for chunk := range slices.Chunk(inside, together) {
			drawn = append(drawn, joined(chunk))
		}
	}
	return drawn
}

// joined is the counts of several buckets.
func joined(buckets []prober.Summary) prober.Summary {
	one := prober.Summary{From: buckets[0].From, To: buckets[len(buckets)-1].To, Errors: map[prober.Kind]int{}, Answers: map[string]int{}}
	for _, bucket := range buckets {
		one.Requests += bucket.Requests
		for kind, n := range bucket.Errors {
			one.Errors[kind] += n
		}
		for revision, n := range bucket.Answers {
			one.Answers[revision] += n
		}
	}
	return one
}

// subtitle is the figures of the whole.
func (c Chart) subtitle() string {
	figures := []string{fmt.Sprintf("%s requests in %s", thousands(c.Total.Requests), clock(c.Total.To-c.Total.From))}
	if c.Note != "" {
		figures = append(figures, c.Note)
	}
	figures = append(figures, fmt.Sprintf("latency p50 %s, p99 %s", milliseconds(c.Total.P50), milliseconds(c.Total.P99)))
	return strings.Join(figures, " · ")
}

// verdict is about errors.
func (c Chart) verdict() string {
	failed := c.Total.Failed()
	switch failed {
	case 0:
		return "no errors"
	case 1:
		return "1 error"
	}
	return thousands(failed) + " errors"
}

// description tells all phases, for those who cannot see them.
func (c Chart) description() string {
	var out strings.Builder
	fmt.Fprintf(&out, "Share of each revision over time. %s; %s.", c.subtitle(), c.verdict())
	for _, phase := range c.Phases {
		if phase.Requests == 0 { // Two marks at once.
			continue
		}
		fmt.Fprintf(&out, " From %s (%s): ", clock(phase.From), phase.Name)
		for i, revision := range phase.Revisions() {
			if i > 0 {
				out.WriteString(", ")
			}
			fmt.Fprintf(&out, "%s %.1f %%", revision, 100*phase.Share(revision))
		}
		if failed := phase.Failed(); failed > 0 {
			fmt.Fprintf(&out, ", %d errors", failed)
		}
		out.WriteString(".")
	}
	return out.String()
}

// revisions are all that answered, the oldest first.
func (c Chart) revisions() []string { return slices.Sorted(maps.Keys(c.Total.Answers)) }

// short is the number of a revision, if its name ends with one.
func short(revision string) string {
	if i := strings.LastIndex(revision, "-"); i >= 0 && i < len(revision)-1 {
		return revision[i+1:]
	}
	return revision
}

func milliseconds(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000)
}

// clock is a time that reads well on an axis.
func clock(d time.Duration) string {
	if d < 3*time.Minute {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	}
	whole := int(d.Round(time.Second).Seconds())
	return fmt.Sprintf("%d:%02d min", whole/60, whole%60)
}

// thousands writes a number with commas.
func thousands(n int) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
