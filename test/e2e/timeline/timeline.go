// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package timeline draws the prober's results as a picture: the share of each revision over time
// with the marks, and below it the requests and the errors.
//
// A picture is a self-contained SVG file with a text description and with colors for light and dark
// pages. Equal charts give equal bytes.
//
// Plotting libraries such as gonum.org/v1/plot and go-chart do not give the same result. They write
// fixed colors and no text description, connect shares across a mark and across a period without
// answers, and place labels without regard to each other.
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

// Chart holds the data of a picture.
type Chart struct {
	Title string `json:"title"`
	// Note describes how the requests were sent.
	Note    string           `json:"note,omitempty"`
	Total   prober.Summary   `json:"total"`
	Phases  []prober.Summary `json:"phases"` // Between marks, for the description.
	Buckets []prober.Summary `json:"buckets"`
	Marks   []prober.Mark    `json:"marks"`
}

// Of returns a chart of the results in buckets of the given width. Buckets start anew at each mark,
// so that requests before a mark are never drawn after it. A width of one second suits most
// scenarios. With fewer than about 50 requests per bucket, constant shares appear to fluctuate.
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
	"text": template.HTMLEscapeString, // Its output is also valid in XML.
	"n":    number,
	"add":  func(a, b float64) float64 { return a + b },
	"sub":  func(a, b int) int { return a - b },
}).Parse(source))

// SVG returns the picture.
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

// maxBuckets is the number of buckets that can be distinguished. maxShares, over all revisions,
// keeps the file small.
const (
	maxBuckets = 240
	maxShares  = 400
)

func (c Chart) mergedBuckets() []prober.Summary {
	most := max(1, min(maxBuckets, maxShares/max(1, len(c.Total.Answers))))
	chunkSize := (len(c.Buckets) + most - 1) / most
	var merged []prober.Summary
	for _, phase := range c.Phases {
		inside := slices.DeleteFunc(slices.Clone(c.Buckets), func(b prober.Summary) bool { return b.From < phase.From || b.To > phase.To })
		for chunk := range slices.Chunk(inside, chunkSize) {
			merged = append(merged, merge(chunk))
		}
	}
	return merged
}

func merge(buckets []prober.Summary) prober.Summary {
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

func (c Chart) subtitle() string {
	figures := []string{fmt.Sprintf("%s requests in %s", thousands(c.Total.Requests), formatTime(c.Total.To-c.Total.From))}
	if c.Note != "" {
		figures = append(figures, c.Note)
	}
	figures = append(figures, fmt.Sprintf("latency p50 %s, p99 %s", milliseconds(c.Total.P50), milliseconds(c.Total.P99)))
	return strings.Join(figures, " · ")
}

func (c Chart) errorText() string {
	failed := c.Total.Failed()
	switch failed {
	case 0:
		return "no errors"
	case 1:
		return "1 error"
	}
	return thousands(failed) + " errors"
}

func (c Chart) description() string {
	var out strings.Builder
	fmt.Fprintf(&out, "Share of each revision over time. %s; %s.", c.subtitle(), c.errorText())
	for _, phase := range c.Phases {
		if phase.Requests == 0 { // Two marks at the same time.
			continue
		}
		fmt.Fprintf(&out, " From %s (%s): ", formatTime(phase.From), phase.Name)
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

func (c Chart) revisions() []string { return slices.Sorted(maps.Keys(c.Total.Answers)) }

// shortName returns the part of a revision's name after the last hyphen, which is its number.
func shortName(revision string) string {
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

func formatTime(d time.Duration) string {
	if d < 3*time.Minute {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	}
	whole := int(d.Round(time.Second).Seconds())
	return fmt.Sprintf("%d:%02d min", whole/60, whole%60)
}

func thousands(n int) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
