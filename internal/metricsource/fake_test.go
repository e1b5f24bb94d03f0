// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
)

// fakePrometheus answers queries from memory, without a network, so that it works in fake time.
type fakePrometheus struct {
	mu      sync.Mutex
	series  []fakeSeries
	number  func(at time.Time) (float64, bool) // the result of queries with max()
	down    bool
	hangs   bool
	queries []query
	running int
	most    int // the most queries that ran at the same time
}

type fakeSeries struct {
	labels  map[string]string
	samples []Sample
}

// query is a query that was received. Times are relative to the test's beginning.
type query struct {
	text string
	at   time.Time
}

func newFake(t *testing.T) (*fakePrometheus, *Client) {
	t.Helper()
	metrics, err := NewMetrics(prometheus.NewPedanticRegistry())
	if err != nil {
		t.Fatal(err)
	}
	fake := &fakePrometheus{}
	client, err := newClient(Config{Address: "http://prometheus.test", Timeout: 10 * time.Second}, fake, clock.RealClock{}, metrics)
	if err != nil {
		t.Fatal(err)
	}
	return fake, client
}

// add adds samples to the series with the selector as its labels.
func (f *fakePrometheus) add(t *testing.T, series string, samples ...Sample) {
	t.Helper()
	parsed, err := parseSelector(series)
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	for _, m := range parsed {
		labels[m.label] = m.value
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.series {
		if identity(f.series[i].labels) == identity(labels) {
			f.series[i].samples = merge(f.series[i].samples, samples)
			return
		}
	}
	f.series = append(f.series, fakeSeries{labels: labels, samples: samples})
}

func (f *fakePrometheus) set(change func(*fakePrometheus)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// received returns the queries since the last call.
func (f *fakePrometheus) received() []query {
	f.mu.Lock()
	defer f.mu.Unlock()
	queries := f.queries
	f.queries = nil
	return queries
}

// RoundTrip implements http.RoundTripper.
func (f *fakePrometheus) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := request.ParseForm(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	at := parseTime(request.Form.Get("time"))
	if request.Form.Get("time") == "" {
		at = parseTime(request.Form.Get("end"))
	}
	f.queries = append(f.queries, query{text: request.Form.Get("query"), at: at})
	f.running++
	f.most = max(f.most, f.running)
	down, hangs := f.down, f.hangs
	f.mu.Unlock()
	defer f.set(func(f *fakePrometheus) { f.running-- })
	if hangs {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	if down {
		return nil, errors.New("connection refused")
	}
	data, err := f.evaluate(request, at)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"status": "success", "data": data})
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(body))), Request: request}, nil
}

func parseTime(text string) time.Time {
	seconds, _ := strconv.ParseFloat(text, 64)
	return time.UnixMilli(int64(seconds*1000 + 0.5))
}

var (
	rangeQuery = regexp.MustCompile(`^(.+)\[(\d+)ms\]$`)
	countQuery = regexp.MustCompile(`^count\(last_over_time\((.+)\[(\d+)ms\]\)\)$`)
	startQuery = regexp.MustCompile(`^min_over_time\((.+)\[(\d+)ms\]\)$`)
)

func (f *fakePrometheus) evaluate(request *http.Request, at time.Time) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := request.Form.Get("query")
	result := []any{}
	switch {
	case request.URL.Path == "/api/v1/query_range":
		step, err := time.ParseDuration(request.Form.Get("step") + "s")
		if err != nil {
			return nil, err
		}
		var values [][2]any
		for t := parseTime(request.Form.Get("start")); !t.After(at); t = t.Add(step) {
			if value, ok := f.number(t); ok {
				values = append(values, pair(Sample{Time: t.UnixMilli(), Value: value}))
			}
		}
		if values != nil {
			result = append(result, map[string]any{"metric": map[string]string{}, "values": values})
		}
		return map[string]any{"resultType": "matrix", "result": result}, nil
	case startQuery.MatchString(text):
		parts := startQuery.FindStringSubmatch(text)
		for _, series := range f.matching(parts[1], milliseconds(parts[2]), at) {
			lowest := series.samples[0]
			for _, sample := range series.samples {
				lowest.Value = min(lowest.Value, sample.Value)
			}
			result = append(result, map[string]any{"metric": series.labels, "value": pair(lowest)})
		}
		return map[string]any{"resultType": "vector", "result": result}, nil
	case countQuery.MatchString(text):
		parts := countQuery.FindStringSubmatch(text)
		if count := len(f.matching(parts[1], milliseconds(parts[2]), at)); count > 0 {
			result = append(result, map[string]any{"metric": map[string]string{}, "value": pair(Sample{Value: float64(count)})})
		}
		return map[string]any{"resultType": "vector", "result": result}, nil
	case rangeQuery.MatchString(text):
		parts := rangeQuery.FindStringSubmatch(text)
		for _, series := range f.matching(parts[1], milliseconds(parts[2]), at) {
			var values [][2]any
			for _, sample := range series.samples {
				values = append(values, pair(sample))
			}
			result = append(result, map[string]any{"metric": series.labels, "values": values})
		}
		return map[string]any{"resultType": "matrix", "result": result}, nil
	}
	return nil, fmt.Errorf("the fake does not know the query %s", text)
}

func milliseconds(text string) time.Duration {
	number, _ := strconv.Atoi(text)
	return time.Duration(number) * time.Millisecond
}

func pair(s Sample) [2]any {
	return [2]any{float64(s.Time) / 1000, strconv.FormatFloat(s.Value, 'g', -1, 64)}
}

// matching returns the series with their samples in the range.
func (f *fakePrometheus) matching(text string, length time.Duration, at time.Time) []fakeSeries {
	parsed, err := parseSelector(text)
	if err != nil {
		return nil
	}
	selects, err := parsed.compile()
	if err != nil {
		return nil
	}
	var found []fakeSeries
	for _, series := range f.series {
		in := fakeSeries{labels: series.labels}
		for _, sample := range series.samples {
			if sample.Time > at.Add(-length).UnixMilli() && sample.Time <= at.UnixMilli() {
				in.samples = append(in.samples, sample)
			}
		}
		if len(in.samples) > 0 && selects.selects(series.labels) {
			found = append(found, in)
		}
	}
	return found
}
