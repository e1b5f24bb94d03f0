// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package timeline

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serinus-io/serinus/test/e2e/prober"
)

var (
	update = flag.Bool("update", false, "write the pictures in testdata instead of comparing with them")
	record = flag.Bool("record", false, "run the scenarios in testdata again, which takes two minutes, and record the prober's results")
)

const maxSize = 60_000

// gateway is an HTTP server that picks a revision by weight for each request.
type gateway struct {
	mu      sync.Mutex
	weights map[string]int
	down    bool
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	revision, down := g.pick()
	if down {
		http.Error(w, "no upstream", http.StatusBadGateway)
		return
	}
	w.Header().Set(prober.ServedByHeader, revision+"-deployment-7965bcc66-grdbq")
	fmt.Fprint(w, `{"predictions": [1, 1]}`)
}

func (g *gateway) pick() (revision string, down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := rand.IntN(100)
	for _, revision := range slices.Sorted(maps.Keys(g.weights)) {
		if at -= g.weights[revision]; at < 0 {
			return revision, g.down
		}
	}
	return "", g.down
}

func (g *gateway) set(s step) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.weights, g.down = s.weights, s.down
}

type step struct {
	mark    string
	weights map[string]int
	down    bool
	lasts   float64 // In units of runScenario's parameter.
}

func revision(n int) string { return fmt.Sprintf("sklearn-iris-predictor-%05d", n) }

var scenarios = map[string]struct {
	title string
	steps []step
}{
	"rollout": {"A canary of model-2: 10 %, 50 %, promoted, and rolled back", []step{
		{weights: map[string]int{revision(1): 100}, lasts: 6},
		{mark: "apply model-2, 10 %", weights: map[string]int{revision(1): 100}, lasts: 4},
		{mark: "route accepted", weights: map[string]int{revision(1): 90, revision(2): 10}, lasts: 12},
		{mark: "50 %", weights: map[string]int{revision(1): 50, revision(2): 50}, lasts: 12},
		{mark: "promote", weights: map[string]int{revision(2): 100}, lasts: 10},
		{mark: "roll back", weights: map[string]int{revision(1): 100}, lasts: 8},
	}},
	"restart": {"A canary is superseded while the gateway restarts", []step{
		{weights: map[string]int{revision(1): 90, revision(2): 10}, lasts: 5},
		{mark: "apply model-3, 30 %", weights: map[string]int{revision(1): 100}, lasts: 5},
		{mark: "gateway killed", weights: map[string]int{revision(1): 100}, down: true, lasts: 2},
		{mark: "gateway back", weights: map[string]int{revision(1): 100}, lasts: 3},
		{mark: "ready", weights: map[string]int{revision(1): 70, revision(3): 30}, lasts: 15},
	}},
}

// runScenario runs the steps against a gateway. The unit is the duration of a step that lasts 1.
func runScenario(t *testing.T, title string, steps []step, unit time.Duration) Chart {
	t.Helper()
	g := &gateway{weights: steps[0].weights}
	server := httptest.NewServer(g)
	defer server.Close()
	p, err := prober.Start(t.Context(), prober.Config{
		Gateway: server.Listener.Addr().String(),
		Targets: []prober.Target{{Host: "sklearn-iris.example.com", Body: []byte(`{"instances": []}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if s.mark != "" {
			p.Mark(s.mark)
		}
		g.set(s)
		n := prober.DefaultRate * s.lasts * unit.Seconds()
		if err := p.Until(t.Context(), int(n)); err != nil {
			t.Fatal(err)
		}
	}
	return Of(title, "100 a second, half over new connections", p.Stop(), time.Second)
}

func TestRecord(t *testing.T) {
	if !*record {
		t.Skip("writes testdata, with -record")
	}
	for name, scenario := range scenarios {
		chart := runScenario(t, scenario.title, scenario.steps, time.Second)
		text, err := json.MarshalIndent(chart, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", name+".json"), append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func recorded(t *testing.T, name string) Chart {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatalf("%v; write it with go test ./test/e2e/timeline -record", err)
	}
	var chart Chart
	if err := json.Unmarshal(text, &chart); err != nil {
		t.Fatal(err)
	}
	return chart
}

func TestPictures(t *testing.T) {
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			have := draw(t, recorded(t, name))
			file := filepath.Join("testdata", name+".svg")
			if *update {
				if err := os.WriteFile(file, []byte(have), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; write it with go test ./test/e2e/timeline -update", err)
			}
			if diff := cmp.Diff(string(want), have); diff != "" {
				t.Errorf("%s differs; if the new picture is correct, run with -update (-want +got):\n%s", file, diff)
			}
		})
	}
}

func draw(t *testing.T, c Chart) string {
	t.Helper()
	svg, err := c.SVG()
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := c.SVG(); again != svg {
		t.Error("SVG() is not deterministic")
	}
	if len(svg) > maxSize {
		t.Errorf("%d bytes, want at most %d", len(svg), maxSize)
	}
	for _, forbidden := range []string{"NaN", "Inf", "%!", "<script", "http://", "https://", "url("} {
		if strings.Contains(strings.ReplaceAll(svg, "http://www.w3.org/2000/svg", ""), forbidden) {
			t.Errorf("the picture contains %q", forbidden)
		}
	}
	elements := map[string]int{}
	for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		if element, is := token.(xml.StartElement); is {
			elements[element.Name.Local]++
		}
	}
	if elements["title"] != 1 || elements["desc"] != 1 {
		t.Errorf("want a title and a description: %v", elements)
	}
	return svg
}

func TestRunScenario(t *testing.T) {
	chart := runScenario(t, "Short", scenarios["rollout"].steps, 50*time.Millisecond)
	if n := chart.Total.Failed(); n > 0 {
		t.Errorf("%d errors: %v", n, chart.Total.Errors)
	}
	svg := draw(t, chart)
	for _, mark := range []string{"apply model-2, 10 %", "route accepted", "promote"} {
		if !strings.Contains(svg, ">"+mark+"</text>") {
			t.Errorf("the mark %q is missing", mark)
		}
	}
	if !strings.Contains(svg, "no errors") {
		t.Error("the picture does not contain \"no errors\"")
	}
}

func TestNoRequests(t *testing.T) {
	if _, err := (Chart{Title: "Nothing"}).SVG(); err == nil || err.Error() != `timeline "Nothing": no requests to draw` {
		t.Errorf("%v", err)
	}
}

// requests returns results of n requests at a constant rate, answered by the revisions in turn.
func requests(n int, rate float64, revisions ...string) prober.Results {
	var r prober.Results
	for i := range n {
		due := time.Duration(float64(i) / rate * float64(time.Second))
		r.Requests = append(r.Requests, prober.Request{Due: due, Latency: time.Millisecond, Revision: revisions[i%len(revisions)]})
		r.End = due + 1
	}
	return r
}

func TestUnusualCharts(t *testing.T) {
	many := requests(20_000, 10, "a-predictor-00001", "a-predictor-00002", "a-predictor-00003", "a-predictor-00004",
		"a-predictor-00005", "a-predictor-00006", "a-predictor-00007", "a-predictor-00008")
	for i := range 30 {
		many.Marks = append(many.Marks, prober.Mark{Name: fmt.Sprintf("mark number %d", i), At: time.Duration(i) * 7 * time.Second})
	}
	hostile := requests(100, 100, "<&\">")
	hostile.Marks = []prober.Mark{{Name: `"10 %" <b> & more`, At: 500 * time.Millisecond}}
	failed := requests(100, 100, "")
	for i := range failed.Requests {
		failed.Requests[i].Error = prober.Refused
	}
	for name, test := range map[string]struct {
		results prober.Results
		want    []string
	}{
		"one request":        {requests(1, 1, "a"), []string{"1 requests in", "no errors"}},
		"hours, many marks":  {many, []string{"a-predictor-00008 answered 2,500", "mark number 29", ">30:00 min<"}},
		"special characters": {hostile, []string{"&lt;&amp;&#34;&gt; answered 100", "&#34;10 %&#34; &lt;b&gt; &amp; more"}},
		"only errors":        {failed, []string{"100 errors", `class="error" d="M`}},
	} {
		t.Run(name, func(t *testing.T) {
			svg := draw(t, Of(name, "", test.results, 500*time.Millisecond))
			for _, want := range test.want {
				if !strings.Contains(svg, want) {
					t.Errorf("the picture does not contain %q", want)
				}
			}
		})
	}
}

func TestSingleErrorIsVisible(t *testing.T) {
	r := requests(2000, 1000, "a")
	r.Requests[777].Revision, r.Requests[777].Error = "", prober.Reset
	l := newLayout(Of("One", "", r, 500*time.Millisecond))
	want := fmt.Sprintf("V%s", number(l.Load.bottom()-4))
	if !strings.Contains(l.Errors, want) || l.ErrorText != "1 error" {
		t.Errorf("errors are drawn as %q, want %s in it; %s", l.Errors, want, l.ErrorText)
	}
}

// No label may cover the line of another mark.
func TestLabelsDoNotOverlap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var r prober.Results
		r.End = 60 * time.Second
		r.Requests = requests(60, 1, "a").Requests
		for range 1 + random.IntN(7) {
			at := time.Duration(random.Int64N(int64(r.End)))
			r.Marks = append(r.Marks, prober.Mark{Name: strings.Repeat("n", 1+random.IntN(24)), At: at})
		}
		slices.SortFunc(r.Marks, func(a, b prober.Mark) int { return int(a.At - b.At) })
		l := newLayout(Of("Marks", "", r, time.Second))
		for i, a := range l.Marks {
			from, to := a.TextX, a.TextX+characterWidth*float64(len(a.Text))
			if a.End {
				from, to = a.TextX-characterWidth*float64(len(a.Text)), a.TextX
			}
			if from < 0 || to > width {
				t.Fatalf("%v: label %d reaches from %.0f to %.0f", r.Marks, i, from, to)
			}
			for j, b := range l.Marks {
				if i != j && b.X > from && b.X < to && b.Top <= a.TextY {
					t.Fatalf("%v: the line of mark %d crosses label %d", r.Marks, j, i)
				}
			}
		}
	}
}
