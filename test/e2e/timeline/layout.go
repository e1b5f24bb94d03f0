// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package timeline

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/serinus-io/serinus/test/e2e/prober"
)

// Sizes, in pixels.
const (
	width          = 960
	left, right    = 58, 24
	legendTop      = 82
	lane           = 19 // Height of a lane of mark labels.
	sharesHeight   = 230
	loadHeight     = 54
	panelGap       = 40
	bottomMargin   = 40
	characterWidth = 7.3 // Average of bold text, rounded up.
	markOffset     = 12
)

type color struct {
	Light, LightLine, LightText string
	Dark, DarkLine, DarkText    string
}

// palette starts with blue for the first revision and yellow for the first canary, which people
// with color blindness can distinguish.
var palette = []color{
	{"#80ccff", "#0969da", "#0a3069", "#194b8c", "#4493f8", "#cae8ff"},
	{"#f6d55c", "#bf8700", "#4d2d00", "#8a6109", "#e3b341", "#fff8c5"},
	{"#7fdc9a", "#1a7f37", "#044f1e", "#1b6531", "#3fb950", "#dafbe1"},
	{"#d0b3ff", "#8250df", "#3e1f79", "#553098", "#a371f7", "#eddeff"},
	{"#ffb0de", "#bf3989", "#611347", "#7d2457", "#f778ba", "#ffeff7"},
	{"#a9dcd6", "#0f766e", "#134e4a", "#11565a", "#2dd4bf", "#ccfbf1"},
}

type rectangle struct{ X, Y, W, H float64 }

func (r rectangle) bottom() float64 { return r.Y + r.H }
func (r rectangle) right() float64  { return r.X + r.W }

// caption is a text at a position. Color is the index of a revision's color.
type caption struct {
	X, Y         float64
	Text         string
	Color, Under int // Under is the color of the area below the text.
}

type area struct {
	Color      int
	Fill, Line string
}

type line struct {
	X, Top, Bottom float64
	TextX, TextY   float64
	End            bool // The text ends at TextX.
	Text           string
}

type layout struct {
	Width, Height, Left          int
	Title, Subtitle, Description string
	ErrorText                    string
	Failed                       bool
	Palette                      []color
	Legend, Inside               []caption
	XTicks, YTicks               []caption
	Shares, Load                 rectangle
	Areas                        []area
	Grid, Axis, Answered, Errors string
	Marks                        []line

	chart     Chart
	buckets   []prober.Summary
	revisions []string
}

func newLayout(c Chart) *layout {
	l := &layout{
		Width: width, Left: left, Title: c.Title, Subtitle: c.subtitle(), Description: c.description(),
		ErrorText: c.errorText(), Failed: c.Total.Failed() > 0,
		chart: c, buckets: c.mergedBuckets(), revisions: c.revisions(),
	}
	l.Palette = palette[:min(len(palette), max(1, len(l.revisions)))]
	legendBottom := l.addLegend()
	l.Shares = rectangle{X: left, W: width - left - right, H: sharesHeight}
	lanes := l.addMarks()
	l.Shares.Y = legendBottom + 14 + lane*float64(lanes)
	l.Load = rectangle{X: left, Y: l.Shares.bottom() + panelGap, W: l.Shares.W, H: loadHeight}
	l.Height = int(l.Load.bottom()) + bottomMargin
	for i := range l.Marks {
		mark := &l.Marks[i]
		mark.Top += l.Shares.Y
		mark.TextY += l.Shares.Y
		mark.Bottom = l.Load.bottom()
	}
	l.addAreas()
	l.addLoad()
	l.addAxes()
	return l
}

func (l *layout) end() time.Duration { return l.buckets[len(l.buckets)-1].To }

func (l *layout) x(at time.Duration) float64 {
	return l.Shares.X + l.Shares.W*float64(at)/float64(l.end())
}

func (l *layout) y(share float64) float64 { return l.Shares.bottom() - l.Shares.H*share }

func (l *layout) color(revision int) int { return revision % len(palette) }

func (l *layout) addLegend() float64 {
	x, y := float64(left), float64(legendTop)
	for i, revision := range l.revisions {
		text := fmt.Sprintf("%s answered %s", revision, thousands(l.chart.Total.Answers[revision]))
		room := 0.82*textWidth(text) + 22 // The text is not bold.
		if x > left && x+room > width-right {
			x, y = left, y+20
		}
		l.Legend = append(l.Legend, caption{X: x, Y: y, Text: text, Color: l.color(i)})
		x += room
	}
	return y
}

type label struct {
	mark     float64 // The x coordinate of the line.
	from, to float64
	lane     int
	ends     bool // The text is left of its line, because there is no room to the right.
}

// addMarks places the labels in lanes above the plot and returns the number of lanes. The heights
// are relative to the plot, whose position is not known yet.
func (l *layout) addMarks() int {
	labels := make([]label, len(l.chart.Marks))
	for i, mark := range l.chart.Marks {
		x := l.x(min(mark.At, l.end()))
		room := textWidth(mark.Name) + 2
		labels[i] = label{mark: x, from: x, to: x + room}
		if x+room > width-8 {
			labels[i] = label{mark: x, from: x - room, to: x, ends: true}
		}
	}
	assignLanes(labels)
	lanes := 0
	for i, label := range labels {
		lanes = max(lanes, label.lane+1)
		height := -float64(label.lane)*lane - markOffset
		placed := line{X: label.mark, Top: height, TextX: label.mark + 7, TextY: height + 4, Text: l.chart.Marks[i].Name, End: label.ends}
		if label.ends {
			placed.TextX = label.mark - 7
		}
		l.Marks = append(l.Marks, placed)
	}
	return lanes
}

// assignLanes assigns lanes so that no line, which runs down from its label, crosses another label.
// A label is above the labels whose lines it would cover.
func assignLanes(labels []label) {
	for j := range slices.Backward(labels) {
		for i := range j {
			// The line of i would run into label j, which is left of its line. Place label i left
			// of its line too.
			if labels[j].ends && !labels[i].ends && labels[i].mark > labels[j].from {
				room := labels[i].to - labels[i].from
				labels[i] = label{mark: labels[i].mark, from: labels[i].mark - room, to: labels[i].mark, ends: true}
			}
		}
	}
	for j := range labels {
		for i := range j {
			if labels[j].ends && labels[i].ends && labels[i].mark > labels[j].from {
				labels[j].lane = max(labels[j].lane, labels[i].lane+1)
			}
		}
	}
	for i := len(labels) - 1; i >= 0; i-- {
		for j := i + 1; j < len(labels); j++ {
			if !labels[i].ends && labels[j].from < labels[i].to {
				labels[i].lane = max(labels[i].lane, labels[j].lane+1)
			}
		}
	}
}

// addAreas stacks the shares. The newest revision is at the bottom, where the axis shows its share.
// Periods without answers have no area.
func (l *layout) addAreas() {
	runs := l.runs()
	for i := range l.revisions {
		var fill, edge path
		for _, run := range runs {
			var top, bottom []point
			for n, bucket := range run {
				low, high := l.stack(bucket, i)
				for _, at := range l.corners(run, n) {
					top = append(top, point{at, l.y(high)})
					bottom = append(bottom, point{at, l.y(low)})
				}
			}
			if i > 0 { // The oldest fills the rest and needs no edge.
				edge.lineAbove(top, bottom)
			}
			slices.Reverse(bottom)
			fill.polygon(append(top, bottom...))
		}
		l.Areas = append(l.Areas, area{Color: l.color(i), Fill: fill.String(), Line: edge.String()})
	}
	for _, phase := range l.chart.Phases {
		l.addShareLabels(phase)
	}
}

func (l *layout) runs() [][]prober.Summary {
	var runs [][]prober.Summary
	for i, bucket := range l.buckets {
		switch {
		case len(bucket.Answers) == 0:
		case i == 0 || len(l.buckets[i-1].Answers) == 0:
			runs = append(runs, []prober.Summary{bucket})
		default:
			runs[len(runs)-1] = append(runs[len(runs)-1], bucket)
		}
	}
	return runs
}

// corners returns the x coordinates of bucket n of a run: its middle, and its edges at the ends of
// the run and of a phase. A share thus changes abruptly at a mark and not before it.
func (l *layout) corners(run []prober.Summary, n int) []float64 {
	b := run[n]
	corners := []float64{l.x((b.From + b.To) / 2)}
	if n == 0 || l.begins(b.From) {
		corners = append([]float64{l.x(b.From)}, corners...)
	}
	if n == len(run)-1 || l.begins(b.To) {
		corners = append(corners, l.x(b.To))
	}
	return corners
}

func (l *layout) begins(at time.Duration) bool {
	return slices.ContainsFunc(l.chart.Phases, func(phase prober.Summary) bool { return phase.From == at })
}

func (l *layout) stack(s prober.Summary, revision int) (low, high float64) {
	for _, newer := range l.revisions[revision+1:] {
		low += s.Share(newer)
	}
	return low, low + s.Share(l.revisions[revision])
}

// addShareLabels labels the areas of a phase with the shares, and with the revision's number if
// there is room.
func (l *layout) addShareLabels(phase prober.Summary) {
	const (
		high  = 0.14 // Minimum share for a text.
		apart = 0.40 // Minimum share for two texts.
		above = 8
	)
	from, to := l.x(phase.From), l.x(phase.To)
	for i, revision := range l.revisions {
		share := phase.Share(revision)
		percent := fmt.Sprintf("%.1f %%", 100*share)
		if share == 1 {
			percent = "100 %"
		}
		text := shortName(revision) + " · " + percent
		if textWidth(text) > to-from {
			text = percent
		}
		if share == 0 || textWidth(text) > to-from {
			continue
		}
		low, top := l.stack(phase, i)
		at := caption{X: (from + to) / 2, Y: l.y((low+top)/2) + 4.5, Text: text, Color: l.color(i), Under: l.color(i)}
		if share < high {
			// Place the text above the area, in that of the next older revision.
			if i == 0 || phase.Share(l.revisions[i-1]) < apart {
				continue
			}
			at.Y, at.Under = l.y(l.peak(i, at.X, textWidth(text)/2))-above, l.color(i-1)
		}
		l.Inside = append(l.Inside, at)
	}
}

func (l *layout) peak(revision int, x, around float64) float64 {
	peak := 0.0
	for _, b := range l.buckets {
		if l.x(b.To) >= x-around && l.x(b.From) <= x+around {
			_, top := l.stack(b, revision)
			peak = max(peak, top)
		}
	}
	return peak
}

func textWidth(text string) float64 { return characterWidth*float64(len([]rune(text))) + 12 }

// addLoad draws the requests per second. Failed requests are at the bottom, with a minimum height
// so that a single one is visible.
func (l *layout) addLoad() {
	const visible = 4
	top := l.loadAxisMax()
	var answered, failed path
	for _, b := range l.buckets {
		high := func(n int) float64 { return l.Load.H * min(1, rate(n, b)/top) }
		from, to := l.x(b.From), l.x(b.To)
		red := 0.0
		if n := b.Failed(); n > 0 {
			red = max(high(n), visible)
			failed.bar(from, to, l.Load.bottom(), l.Load.bottom()-red)
		}
		if all := high(b.Requests); all > red {
			answered.bar(from, to, l.Load.bottom()-red, l.Load.bottom()-all)
		}
	}
	l.Answered, l.Errors = answered.String(), failed.String()
}

func rate(n int, b prober.Summary) float64 { return float64(n) / (b.To - b.From).Seconds() }

// loadAxisMax returns the upper end of the axis of requests per second: the smallest round number
// above all buckets. It ignores a last bucket that is much shorter than the others.
func (l *layout) loadAxisMax() float64 {
	most := 0.0
	for i, b := range l.buckets {
		if i == 0 || b.To-b.From > (l.buckets[0].To-l.buckets[0].From)/2 {
			most = max(most, rate(b.Requests, b))
		}
	}
	if most == 0 {
		return 1
	}
	magnitude := math.Pow(10, math.Floor(math.Log10(most)))
	for _, step := range []float64{1, 1.5, 2, 3, 4, 5, 6, 8, 10} {
		if step*magnitude >= most*1.05 {
			return step * magnitude
		}
	}
	return 15 * magnitude
}

func (l *layout) addAxes() {
	var grid, axis path
	for _, percent := range []int{0, 25, 50, 75, 100} {
		y := l.y(float64(percent) / 100)
		grid.line([]point{{l.Shares.X, y}, {l.Shares.right(), y}})
		l.YTicks = append(l.YTicks, caption{X: l.Shares.X - 8, Y: y + 4, Text: fmt.Sprintf("%d %%", percent)})
	}
	for _, at := range []struct{ part, value float64 }{{0, 0}, {1, l.loadAxisMax()}} {
		y := l.Load.bottom() - l.Load.H*at.part
		l.YTicks = append(l.YTicks, caption{X: l.Load.X - 8, Y: y + 4, Text: strconv.FormatFloat(at.value, 'f', -1, 64)})
	}
	axis.line([]point{{l.Load.X, l.Load.bottom()}, {l.Load.right(), l.Load.bottom()}})
	for at := time.Duration(0); at <= l.end(); at += tick(l.end()) {
		x := l.x(at)
		axis.line([]point{{x, l.Load.bottom()}, {x, l.Load.bottom() + 5}})
		l.XTicks = append(l.XTicks, caption{X: x, Y: l.Load.bottom() + 20, Text: formatTime(at)})
	}
	l.Grid, l.Axis = grid.String(), axis.String()
}

func tick(end time.Duration) time.Duration {
	const most = 12
	steps := []time.Duration{
		100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute,
	}
	for _, step := range steps {
		if end/step < most {
			return step
		}
	}
	return end
}

type point struct{ x, y float64 }

type path struct{ strings.Builder }

func (p *path) line(points []point) {
	for i, at := range points {
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(p, "%s%s %s", command, number(at.x), number(at.y))
	}
}

// lineAbove draws the upper edge of an area where the area is not empty.
func (p *path) lineAbove(top, bottom []point) {
	var points []point
	for i := range top {
		filled := func(j int) bool { return j >= 0 && j < len(top) && top[j].y != bottom[j].y }
		if filled(i) || filled(i-1) || filled(i+1) {
			points = append(points, top[i])
			continue
		}
		p.line(points)
		points = nil
	}
	p.line(points)
}

func (p *path) polygon(points []point) {
	p.line(points)
	p.WriteString("Z")
}

func (p *path) bar(from, to, bottom, top float64) {
	fmt.Fprintf(p, "M%s %sV%sH%sV%sZ", number(from), number(bottom), number(top), number(to), number(bottom))
}

func number(x float64) string {
	return strconv.FormatFloat(math.Round(x*10)/10, 'f', -1, 64)
}
