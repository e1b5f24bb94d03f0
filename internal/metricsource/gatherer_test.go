// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

var (
	_ manager.Runnable               = (*Gatherer[verdict])(nil)
	_ manager.LeaderElectionRunnable = (*Gatherer[verdict])(nil)
)

const (
	interval = 15 * time.Second
	requests = `requests_total{ns="models",r="iris-predictor-00002",code="200",instance="a"}`
	failures = `requests_total{ns="models",r="iris-predictor-00002",code="500",instance="a"}`
	stable   = `requests_total{ns="models",r="iris-predictor-00001",code="200",instance="a"}`
)

var (
	object       = types.NamespacedName{Namespace: "models", Name: "iris"}
	testCounters = &Counters{
		Total: []string{`requests_total{ns="$namespace",r="$revision"}`},
		Bad:   []string{`requests_total{ns="$namespace",r="$revision",code="500"}`},
	}
)

// verdict is what the tests' judge makes of a look.
type verdict struct {
	At       time.Time
	Source   string
	Status   Status
	Requests float64 // the increase of the canary's requests, without the first samples
	Bad      float64
	Samples  int
	Values   []Sample
	Input    any
}

func judge(trial Trial, look Look) verdict {
	v := verdict{At: look.At, Source: look.Source, Status: status(look.Failure), Input: trial.Input}
	for _, reading := range look.Readings {
		if reading.Failure != nil {
			v.Status = reading.Failure.Status
		}
		v.Values = append(v.Values, reading.Values...)
		for _, series := range reading.Series {
			v.Samples += len(series.Samples)
			if !series.Canary {
				continue
			}
			increase := series.Samples[len(series.Samples)-1].Value - series.Samples[0].Value
			v.Requests += series.Requests * increase
			v.Bad += series.Bad * increase
		}
	}
	return v
}

type harness struct {
	*fakePrometheus
	gatherer *Gatherer[verdict]
	cancel   context.CancelFunc

	mu       sync.Mutex
	enqueued []types.NamespacedName
}

// newHarness returns a gatherer. A new verdict counts as changed if its status, source or input did.
func newHarness(t *testing.T, concurrency int) *harness {
	t.Helper()
	fake, client := newFake(t)
	h := &harness{fakePrometheus: fake}
	h.gatherer = h.newGatherer(client, concurrency)
	return h
}

func (h *harness) newGatherer(client *Client, concurrency int) *Gatherer[verdict] {
	return NewGatherer(Options[verdict]{
		Client: client, Clock: clock.RealClock{}, Concurrency: concurrency, Judge: judge,
		Changed: func(before, after verdict) bool {
			return before.Status != after.Status || before.Source != after.Source || before.Input != after.Input
		},
		Enqueue: func(name types.NamespacedName) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.enqueued = append(h.enqueued, name)
		},
	})
}

func (h *harness) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h.cancel = cancel
	ended := make(chan error)
	go func() { ended <- h.gatherer.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

func (h *harness) takeEnqueued() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	count := len(h.enqueued)
	h.enqueued = nil
	return count
}

func (h *harness) verdict(t *testing.T, id string) verdict {
	t.Helper()
	v, ok := h.gatherer.Verdict(object, id)
	if !ok {
		t.Fatalf("there is no verdict of trial %s", id)
	}
	return v
}

// scrape adds samples each 15 seconds, of requests that grow by one each second.
func (h *harness) scrape(t *testing.T, series string, from, to time.Time) {
	t.Helper()
	for at := from; !at.After(to); at = at.Add(15 * time.Second) {
		h.add(t, series, Sample{Time: at.UnixMilli(), Value: float64(at.Unix() - from.Unix())})
	}
}

func trial(began time.Time, metrics ...Metric) Trial {
	if metrics == nil {
		metrics = []Metric{{Name: "errors", Counters: testCounters}}
	}
	return Trial{ID: "2.1", Revisions: iris, Began: began, Interval: interval, History: time.Hour, Metrics: metrics}
}

// advance waits until the offset from the beginning, and a little more for what happens then.
func advance(began time.Time, offset time.Duration) {
	time.Sleep(time.Until(began.Add(offset + time.Millisecond)))
	synctest.Wait()
}

func TestLooksAreOnTheGrid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1)
		began := time.Now()
		h.scrape(t, requests, began.Add(-time.Hour), began.Add(time.Hour))
		h.start(t)
		advance(began, 40*time.Second)
		h.gatherer.Track(object, trial(began))
		synctest.Wait()
		if v := h.verdict(t, "2.1"); !v.At.Equal(began.Add(30*time.Second)) || v.Requests != 3615 {
			t.Errorf("the first look was at %s with %v requests", v.At.Sub(began), v.Requests)
		}
		advance(began, 80*time.Second)
		var got []string
		for _, q := range h.received() {
			got = append(got, fmt.Sprintf("%s at %s", q.text, q.at.Sub(began)))
		}
		const selector = `requests_total{ns="models",r=~"(?:iris-predictor-00001)|(?:iris-predictor-00002)"}`
		want := []string{
			selector + "[3630000ms] at 30s", // the history of an hour, and the time since the beginning
			selector + "[135000ms] at 45s",  // the interval, and the overlap
			selector + "[135000ms] at 1m0s",
			selector + "[135000ms] at 1m15s",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("wrong queries (-want +got):\n%s", diff)
		}
		if v := h.verdict(t, "2.1"); v.Requests != 3660 { // From −59:45, because −1:00:00 is outside the range.
			t.Errorf("counted %v requests, want 3660", v.Requests)
		}
		if _, ok := h.gatherer.Verdict(object, "2.2"); ok {
			t.Error("there is a verdict of another trial")
		}
	})
}

// A gap is read from the history, so the verdict is the same as without it.
func TestGapIsReadFromHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1)
		began := time.Now()
		h.scrape(t, requests, began.Add(-time.Hour), began.Add(24*time.Hour))
		h.start(t)
		h.gatherer.Track(object, trial(began))
		advance(began, time.Minute)
		h.set(func(f *fakePrometheus) { f.down = true })
		advance(began, 10*time.Minute)
		if v := h.verdict(t, "2.1"); v.Status != Unavailable || v.Requests != 3645 {
			t.Errorf("while Prometheus is down: got %+v", v)
		}
		h.received()
		h.set(func(f *fakePrometheus) { f.down = false })
		advance(began, 10*time.Minute+interval)
		if v := h.verdict(t, "2.1"); v.Status != Success || v.Requests != 3600+600 {
			t.Errorf("after the gap: got %+v", v)
		}
		queries := h.received()
		if len(queries) != 1 || !strings.HasSuffix(queries[0].text, fmt.Sprintf("[%dms]", (9*time.Minute+interval+overlap).Milliseconds())) {
			t.Errorf("wrong queries after the gap: %v", queries)
		}

		// A long gap is read in chunks.
		h.set(func(f *fakePrometheus) { f.down = true })
		advance(began, 20*time.Hour)
		h.received()
		h.set(func(f *fakePrometheus) { f.down = false })
		advance(began, 20*time.Hour+interval)
		if v := h.verdict(t, "2.1"); v.Status != Success || v.Requests != 3600+20*3600 {
			t.Errorf("after the long gap: got %+v", v)
		}
		if queries := h.received(); len(queries) != 4 {
			t.Errorf("wrong queries after the long gap: %v", queries)
		}

		// Another leader comes to the same verdict.
		before := h.verdict(t, "2.1")
		h.cancel()
		synctest.Wait()
		h.gatherer = h.newGatherer(h.gatherer.Client, 1)
		h.start(t)
		h.gatherer.Track(object, trial(began))
		synctest.Wait()
		if diff := cmp.Diff(before, h.verdict(t, "2.1")); diff != "" {
			t.Errorf("the verdict changed after a restart (-before +after):\n%s", diff)
		}
	})
}

func TestLateSamplesAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1)
		began := time.Now()
		h.start(t)
		h.gatherer.Track(object, trial(began))
		advance(began, 5*time.Minute)
		if v := h.verdict(t, "2.1"); v.Status != NoSeries {
			t.Errorf("without series: got %+v", v)
		}
		// The first samples arrive four minutes late, and not in order.
		h.scrape(t, requests, began.Add(time.Minute), began.Add(time.Minute))
		h.add(t, requests, Sample{Time: began.Add(90 * time.Second).UnixMilli(), Value: 30})
		advance(began, 5*time.Minute+interval)
		h.add(t, requests, Sample{Time: began.Add(75 * time.Second).UnixMilli(), Value: 15})
		advance(began, 5*time.Minute+2*interval)
		if v := h.verdict(t, "2.1"); v.Status != Success || v.Requests != 30 || v.Samples != 3 {
			t.Errorf("with late samples: got %+v", v)
		}
	})
}

func TestEnqueuesOnlyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1)
		began := time.Now()
		h.scrape(t, requests, began.Add(-time.Minute), began.Add(time.Hour))
		h.start(t)
		h.gatherer.Track(object, trial(began))
		want := func(when string, count int) {
			t.Helper()
			if got := h.takeEnqueued(); got != count {
				t.Errorf("%s: enqueued %d times, want %d", when, got, count)
			}
		}
		advance(began, 10*time.Minute)
		want("at the first verdict", 1)
		h.set(func(f *fakePrometheus) { f.down = true })
		advance(began, 20*time.Minute)
		want("when Prometheus is down", 1)
		h.set(func(f *fakePrometheus) { f.down = false })
		advance(began, 30*time.Minute)
		want("when Prometheus is back", 1)
		if queries := len(h.received()); queries != 121 {
			t.Errorf("there were %d queries in 30 minutes, want one each 15 s", queries)
		}
	})
}

func TestTrackAndForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1)
		began := time.Now()
		h.scrape(t, requests, began.Add(-time.Minute), began.Add(time.Hour))
		first := trial(began)
		first.Input = 1
		h.gatherer.Track(object, first)
		synctest.Wait()
		if queries := h.received(); len(queries) > 0 {
			t.Errorf("there were queries before this operator leads: %v", queries)
		}
		h.start(t)
		h.received()

		h.gatherer.Track(object, first)
		synctest.Wait()
		if queries := h.received(); len(queries) > 0 || h.takeEnqueued() != 1 {
			t.Errorf("tracking the same trial again made queries: %v", queries)
		}
		first.Input = 2
		h.gatherer.Track(object, first)
		synctest.Wait()
		if queries := h.received(); len(queries) > 0 || h.takeEnqueued() != 1 || h.verdict(t, "2.1").Input != 2 {
			t.Errorf("a new input made queries %v and the verdict %+v", queries, h.verdict(t, "2.1"))
		}

		second := trial(began.Add(5 * time.Second).In(time.FixedZone("", 3600)))
		second.ID = "2.2"
		h.gatherer.Track(object, second)
		synctest.Wait()
		if _, ok := h.gatherer.Verdict(object, "2.2"); ok {
			t.Error("there is a verdict before the trial begins")
		}
		advance(began, 5*time.Second)
		h.received()
		if v := h.verdict(t, "2.2"); !v.At.Equal(began.Add(5 * time.Second)) {
			t.Errorf("the first look was at %s", v.At.Sub(began))
		}
		second.Began = second.Began.In(time.UTC)
		h.gatherer.Track(object, second)
		synctest.Wait()
		if queries := h.received(); len(queries) > 0 {
			t.Errorf("the same time in another zone made queries: %v", queries)
		}
		h.gatherer.Forget(object)
		advance(began, 10*time.Minute)
		if queries := h.received(); len(queries) > 0 {
			t.Errorf("a forgotten trial made queries: %v", queries)
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 3)
		began := time.Now()
		h.set(func(f *fakePrometheus) { f.hangs = true })
		h.start(t)
		for i := range 20 {
			h.gatherer.Track(types.NamespacedName{Name: fmt.Sprint(i)}, trial(began))
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("Track waited %s for Prometheus", waited)
		}
		advance(began, 5*time.Minute)
		if h.most != 3 {
			t.Errorf("%d queries ran at the same time, want 3", h.most)
		}
		h.set(func(f *fakePrometheus) { f.hangs = false })
		h.received()
		advance(began, 6*time.Minute)
		h.received()
		advance(began, 8*time.Minute)
		if queries := len(h.received()); queries != 20*8 {
			t.Errorf("there were %d queries in two minutes, want one each 15 s of each trial", queries)
		}
	})
}

func TestSourceIsChosen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1)
		began := time.Now()
		gateway := Preset{
			Name: "gateway", Hint: "switch it on", Latency: classicHistogram("seconds", `ns="$namespace",r="$revision"`, time.Second),
			Counters: *testCounters,
		}
		server := Preset{
			Name:     "server",
			Counters: Counters{Total: []string{`served_total{ns="$namespace",r="$revision"}`}, Bad: []string{`served_total{ns="$namespace",r="$revision",code="500"}`}},
		}
		tracked := trial(began, Metric{Name: "errors", FromPreset: Errors}, Metric{Name: "latency", FromPreset: Latency, Le: "0.5"})
		tracked.Presets = []Preset{gateway, server}
		// Series of the canary do not suffice.
		h.scrape(t, requests, began.Add(-time.Minute), began.Add(time.Hour))
		h.start(t)
		h.gatherer.Track(object, tracked)
		synctest.Wait()
		if v := h.verdict(t, "2.1"); v.Status != NoSeries || v.Source != "" {
			t.Errorf("without series: got %+v", v)
		}
		_, failure := h.gatherer.Client.choose(t.Context(), tracked.Presets, iris, began.Add(-time.Hour), began)
		want := `Prometheus has no series for requests_total{ns="models",r="iris-predictor-00001"} (preset "gateway"). switch it on` +
			` and served_total{ns="models",r="iris-predictor-00001"} (preset "server")`
		if status(failure) != NoSeries || failure.Message != want {
			t.Errorf("got %+v, want %s", failure, want)
		}

		h.scrape(t, `served_total{ns="models",r="iris-predictor-00001",code="200",instance="b"}`, began.Add(-time.Minute), began.Add(time.Hour))
		h.scrape(t, `served_total{ns="models",r="iris-predictor-00002",code="500",instance="c"}`, began, began.Add(time.Hour))
		advance(began, interval)
		if v := h.verdict(t, "2.1"); v.Source != "server" || v.Bad != 15 {
			t.Errorf("with series of the server: got %+v", v)
		}
		// The source is chosen once.
		h.scrape(t, stable, began.Add(time.Minute), began.Add(time.Hour))
		advance(began, 10*time.Minute)
		if v := h.verdict(t, "2.1"); v.Source != "server" {
			t.Errorf("later: got %+v", v)
		}
	})
}

func TestUnsupportedAndInvalidMetrics(t *testing.T) {
	_, client := newFake(t)
	r := &task[verdict]{ctx: t.Context(), trial: trial(noon,
		Metric{Name: "latency", FromPreset: Latency, Le: "0.5"},
		Metric{Name: "own", Counters: &Counters{Total: []string{"a{"}}},
		Metric{Name: "query", Query: "max($nothing)"})}
	look := r.look(client, noon)
	want := []Reading{
		{Metric: "latency", Unsupported: true, Failure: &Failure{Status: NoSeries, Message: `preset "" has no latency histogram`}},
		{Metric: "own", Failure: &Failure{Status: Invalid, Message: `selector "a{": expected a label name before ""`}},
		{Metric: "query", Failure: &Failure{Status: Invalid, Message: "query max($nothing): $nothing is no placeholder; the placeholders are $namespace, $revision and $pods"}},
	}
	if diff := cmp.Diff(want, look.Readings); diff != "" {
		t.Errorf("wrong readings (-want +got):\n%s", diff)
	}
}

func TestQueryMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1)
		began := time.Now()
		h.number = func(at time.Time) (float64, bool) {
			offset := at.Sub(began)
			return offset.Seconds(), offset != interval
		}
		h.start(t)
		h.gatherer.Track(object, trial(began, Metric{Name: "memory", Query: `max(used{pod=~"$pods"})`}))
		advance(began, interval)
		if v := h.verdict(t, "2.1"); v.Status != NoSeries || len(v.Values) != 1 {
			t.Errorf("without a number: got %+v", v)
		}
		h.set(func(f *fakePrometheus) { f.down = true })
		advance(began, 4*interval)
		h.set(func(f *fakePrometheus) { f.down = false })
		advance(began, 5*interval)
		var got []float64
		for _, value := range h.verdict(t, "2.1").Values {
			got = append(got, value.Value)
		}
		if diff := cmp.Diff([]float64{0, 30, 45, 60, 75}, got); diff != "" {
			t.Errorf("wrong values after a gap (-want +got):\n%s", diff)
		}
		if q := h.received()[0].text; q != `max(used{pod=~"iris-predictor-00002-deployment-.*"})` {
			t.Errorf("the query was %s", q)
		}
	})
}

// Only processes that are first scraped in the trial need a start time, and it is asked for once.
func TestStartTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1)
		began := time.Now()
		h.scrape(t, stable, began.Add(-time.Minute), began.Add(time.Hour))
		h.start(t)
		h.gatherer.Track(object, trial(began))
		advance(began, time.Minute)
		for _, q := range h.received() {
			if strings.Contains(q.text, "process_start_time_seconds") {
				t.Errorf("asked for start times of known processes: %s", q.text)
			}
		}
		born := strings.Replace(failures, `"a"`, `"10.0.0.7:80"`, 1)
		h.scrape(t, born, began.Add(65*time.Second), began.Add(time.Hour))
		h.scrape(t, strings.Replace(requests, `"a"`, `"without"`, 1), began.Add(65*time.Second), began.Add(time.Hour))
		started := Sample{Time: began.Add(65 * time.Second).UnixMilli(), Value: float64(began.Unix()) + 61.5}
		h.add(t, `process_start_time_seconds{instance="10.0.0.7:80"}`, started)
		advance(began, 3*time.Minute)

		var asked []string
		for _, q := range h.received() {
			if strings.Contains(q.text, "process_start_time_seconds") {
				asked = append(asked, q.text)
			}
		}
		want := []string{`min_over_time(process_start_time_seconds{instance=~"10\\.0\\.0\\.7:80|without",job=~""}[195000ms])`}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("wrong queries for start times (-want +got):\n%s", diff)
		}
		h.gatherer.mu.Lock()
		r := h.gatherer.trials[object].readers[0]
		h.gatherer.mu.Unlock()
		got := map[string]int64{}
		for _, series := range r.counters.all() {
			got[series.Labels["instance"]] = series.Started
		}
		if diff := cmp.Diff(map[string]int64{"a": 0, "without": 0, "10.0.0.7:80": began.UnixMilli() + 61500}, got); diff != "" {
			t.Errorf("wrong start times (-want +got):\n%s", diff)
		}
	})
}
