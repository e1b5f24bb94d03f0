// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package prometheus tests the operator's source of metrics with a real Prometheus.
package prometheus

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/serinus-io/serinus/internal/metricsource"
	"github.com/serinus-io/serinus/internal/metricsource/prometheustest"
)

const (
	root     = "../.."
	timeout  = time.Minute
	interval = 500 * time.Millisecond

	stableOK   = `traefik_service_requests_total{code="200",service="models-iris-predictor-00001-http-80@kubernetesgateway"}`
	canaryOK   = `traefik_service_requests_total{code="200",service="models-iris-predictor-00002-http-80@kubernetesgateway"}`
	canaryBad  = `traefik_service_requests_total{code="500",service="models-iris-predictor-00002-http-80@kubernetesgateway"}`
	otherOK    = `traefik_service_requests_total{code="200",service="models-other-predictor-00002-http-80@kubernetesgateway"}`
	startTime  = "process_start_time_seconds"
	scrapeable = `
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
- job_name: gateway
  static_configs: [{targets: [%q, %q]}]
`
)

var iris = types.NamespacedName{Namespace: "models", Name: "iris"}

// bed is a real Prometheus that scrapes two gateways, with a proxy before it.
type bed struct {
	first, second *exporter
	server        *prometheustest.Server
	proxy         *prometheustest.Proxy
	gatherer      *metricsource.Gatherer[metricsource.Look]
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{first: newExporter(t), second: newExporter(t)}
	b.second.setDown(true)
	b.server = prometheustest.Start(t, root, fmt.Sprintf(scrapeable, b.first.address(), b.second.address()))
	var err error
	if b.proxy, err = prometheustest.NewProxy(b.server.URL); err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(b.proxy)
	t.Cleanup(front.Close)
	metrics, err := metricsource.NewMetrics(prometheus.NewPedanticRegistry())
	if err != nil {
		t.Fatal(err)
	}
	config := metricsource.Config{Address: front.URL, Timeout: 2 * time.Second}
	client, err := metricsource.NewClient(config, clock.RealClock{}, metrics)
	if err != nil {
		t.Fatal(err)
	}
	b.gatherer = metricsource.NewGatherer(metricsource.Options[metricsource.Look]{
		Client: client, Clock: clock.RealClock{}, Concurrency: 2,
		Judge:   func(_ metricsource.Trial, look metricsource.Look) metricsource.Look { return snapshot(look) },
		Changed: func(metricsource.Look, metricsource.Look) bool { return false },
		Enqueue: func(types.NamespacedName) {},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- b.gatherer.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b
}

// snapshot copies the samples, which belong to the gatherer.
func snapshot(look metricsource.Look) metricsource.Look {
	for i := range look.Readings {
		series := &look.Readings[i].Series
		*series = append([]metricsource.Series(nil), *series...)
		for j := range *series {
			(*series)[j].Samples = append([]metricsource.Sample(nil), (*series)[j].Samples...)
		}
	}
	return look
}

// waitFor waits for a look that the condition accepts.
func (b *bed) waitFor(t *testing.T, what string, accept func(metricsource.Look) bool) metricsource.Look {
	t.Helper()
	var last metricsource.Look
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, timeout, true, func(context.Context) (bool, error) {
		var ok bool
		last, ok = b.gatherer.Verdict(iris, "2.1")
		return ok && accept(last), nil
	})
	if err != nil {
		t.Fatalf("waiting for %s: the last look was %+v", what, last)
	}
	return last
}

func trial(t *testing.T, preset string, metrics ...metricsource.Metric) metricsource.Trial {
	t.Helper()
	presets, err := metricsource.NewPresets()
	if err != nil {
		t.Fatal(err)
	}
	return metricsource.Trial{
		ID:        "2.1",
		Revisions: metricsource.Revisions{Namespace: "models", Stable: "iris-predictor-00001", Canary: "iris-predictor-00002"},
		Began:     time.Now(), Interval: interval, History: time.Minute,
		Presets: []metricsource.Preset{presets[preset]}, Metrics: metrics,
	}
}

var errorsMetric = metricsource.Metric{Name: "errors", FromPreset: metricsource.Errors}

func failed(reading metricsource.Reading) metricsource.Status {
	if reading.Failure == nil {
		return metricsource.Success
	}
	return reading.Failure.Status
}

// last returns the newest value of each series of the canary and of the stable, by code.
func last(look metricsource.Look, address string) map[string]float64 {
	values := map[string]float64{}
	for _, reading := range look.Readings {
		for _, series := range reading.Series {
			if series.Labels["instance"] != address {
				continue
			}
			name := "stable " + series.Labels["code"]
			if series.Canary {
				name = "canary " + series.Labels["code"]
			}
			values[name] = series.Samples[len(series.Samples)-1].Value
		}
	}
	return values
}

type counted struct{ Requests, Bad float64 }

// count counts the series as the analysis does: a first sample counts if the process is new, or if
// another series of it is older.
func count(look metricsource.Look, began time.Time) (canary, stable counted) {
	oldest := map[string]int64{}
	for _, series := range look.Readings[0].Series {
		if first := series.Samples[0].Time; oldest[series.Target] == 0 || first < oldest[series.Target] {
			oldest[series.Target] = first
		}
	}
	for _, series := range look.Readings[0].Series {
		events, previous := 0.0, 0.0
		for i, sample := range series.Samples {
			isNew := series.Started >= began.UnixMilli() || oldest[series.Target] < sample.Time
			switch {
			case i == 0 && !isNew:
			case sample.Value < previous: // The process restarted.
				events += sample.Value
			default:
				events += sample.Value - previous
			}
			previous = sample.Value
		}
		of := &stable
		if series.Canary {
			of = &canary
		}
		of.Requests += series.Requests * events
		of.Bad += series.Bad * events
	}
	return canary, stable
}

func TestCountersWithBirthsAndResets(t *testing.T) {
	b := newBed(t)
	b.first.change(func(m map[string]float64) {
		m[stableOK], m[otherOK], m[startTime] = 1000, 7, float64(time.Now().Unix())-3600
	})
	tracked := trial(t, "traefik", errorsMetric)
	b.gatherer.Track(iris, tracked)
	b.waitFor(t, "the source", func(look metricsource.Look) bool { return look.Source == "traefik" })

	// The history is the baseline. The trial begins now.
	tracked.Began = time.Now()
	b.gatherer.Track(iris, tracked)
	address := b.first.address()
	values := func(what string, want map[string]float64) metricsource.Look {
		t.Helper()
		return b.waitFor(t, what, func(look metricsource.Look) bool { return cmp.Equal(want, last(look, address)) })
	}
	values("the baseline", map[string]float64{"stable 200": 1000})
	b.first.change(func(m map[string]float64) { m[stableOK], m[canaryOK], m[canaryBad] = 1050, 7, 3 })
	values("the births", map[string]float64{"stable 200": 1050, "canary 200": 7, "canary 500": 3})

	// The gateway restarts: its counters begin anew, and one does not come back.
	b.first.change(func(m map[string]float64) {
		m[stableOK], m[canaryOK], m[startTime] = 5, 2, float64(time.Now().UnixMilli())/1000
		delete(m, canaryBad)
	})
	values("the reset", map[string]float64{"stable 200": 5, "canary 200": 2, "canary 500": 3})

	// Another gateway starts, and has served before it is first scraped.
	b.second.change(func(m map[string]float64) {
		m[canaryOK], m[canaryBad], m[startTime] = 4, 1, float64(time.Now().UnixMilli())/1000
	})
	b.second.setDown(false)
	address = b.second.address()
	look := values("the other gateway", map[string]float64{"canary 200": 4, "canary 500": 1})

	canary, stable := count(look, tracked.Began)
	if want := (counted{Requests: 10 + 2 + 5, Bad: 3 + 1}); canary != want {
		t.Errorf("counted %v of the canary, want %v", canary, want)
	}
	if want := (counted{Requests: 55}); stable != want {
		t.Errorf("counted %v of the stable, want %v", stable, want)
	}
	for _, series := range look.Readings[0].Series {
		if isNew := series.Started > 0; isNew != (series.Labels["instance"] == b.second.address()) {
			t.Errorf("series %v: the process started at %d", series.Labels, series.Started)
		}
	}
}

// Faults change nothing that was read, and what happens in the meantime is read afterwards.
func TestFaults(t *testing.T) {
	b := newBed(t)
	requests := 100.0
	b.first.change(func(m map[string]float64) { m[stableOK], m[canaryOK] = requests, requests })
	tracked := trial(t, "traefik", errorsMetric,
		metricsource.Metric{Name: "query", Query: `max(traefik_service_requests_total{service=~".*-$revision-.*"})`})
	b.gatherer.Track(iris, tracked)
	complete := func(look metricsource.Look) bool {
		return len(look.Readings) == 2 && failed(look.Readings[0]) == metricsource.Success && failed(look.Readings[1]) == metricsource.Success &&
			last(look, b.first.address())["canary 200"] == requests
	}
	b.waitFor(t, "the first complete look", complete)
	want := map[prometheustest.Fault][2]metricsource.Status{
		prometheustest.Down:     {metricsource.Unavailable, metricsource.Unavailable},
		prometheustest.Late:     {metricsource.Unavailable, metricsource.Unavailable},
		prometheustest.Error500: {metricsource.Unavailable, metricsource.Unavailable},
		prometheustest.NaN:      {metricsource.Invalid, metricsource.Invalid},
		prometheustest.Empty:    {metricsource.NoSeries, metricsource.NoSeries},
		// Series with other labels are other counters, unless they belong to neither revision.
		prometheustest.TwoSeries: {metricsource.Success, metricsource.Invalid},
		prometheustest.CutJSON:   {metricsource.Unavailable, metricsource.Unavailable},
	}
	for _, fault := range prometheustest.Faults {
		b.proxy.Set(fault)
		look := b.waitFor(t, string(fault), func(look metricsource.Look) bool {
			return [2]metricsource.Status{failed(look.Readings[0]), failed(look.Readings[1])} == want[fault]
		})
		if newest := last(look, b.first.address())["canary 200"]; newest > requests {
			t.Errorf("%s: read %v requests, and there were %v", fault, newest, requests)
		}
		requests += 10
		b.first.change(func(m map[string]float64) { m[canaryOK] = requests })
		b.proxy.Set(prometheustest.None)
		b.waitFor(t, "a complete look after "+string(fault), complete)
	}

	// Prometheus itself restarts.
	if err := b.server.Stop(); err != nil {
		t.Fatal(err)
	}
	b.waitFor(t, "the end of Prometheus", func(look metricsource.Look) bool { return failed(look.Readings[0]) == metricsource.Unavailable })
	requests += 10
	b.first.change(func(m map[string]float64) { m[canaryOK] = requests })
	b.server.Run(t)
	look := b.waitFor(t, "a complete look after the restart", complete)
	for _, series := range look.Readings[0].Series {
		if series.Canary && series.Labels["copy"] == "" && series.Samples[0].Value > 110 {
			t.Errorf("the samples before the restart are lost: %v", series.Samples)
		}
	}
}

// A real Prometheus accepts all queries of the presets.
func TestPresetsAreValidPromQL(t *testing.T) {
	b := newBed(t)
	presets, err := metricsource.NewPresets()
	if err != nil {
		t.Fatal(err)
	}
	b.first.change(func(m map[string]float64) { m["always"] = 1 })
	for _, name := range presets.Names() {
		preset := presets[name]
		metrics := []metricsource.Metric{{Name: "errors", Counters: &preset.Counters}}
		if preset.Latency != nil {
			slower, err := preset.Latency.SlowerThan("0.5")
			if err != nil {
				t.Fatal(err)
			}
			buckets := preset.Latency.Buckets()
			metrics = append(metrics, metricsource.Metric{Name: "latency", Counters: &slower}, metricsource.Metric{Name: "buckets", Counters: &buckets})
		}
		tracked := trial(t, name, metrics...)
		tracked.Presets = nil
		b.gatherer.Track(iris, tracked)
		look := b.waitFor(t, name, func(look metricsource.Look) bool { return len(look.Readings) == len(metrics) })
		for _, reading := range look.Readings {
			if failed(reading) != metricsource.NoSeries {
				t.Errorf("%s, %s: got %+v", name, reading.Metric, reading.Failure)
			}
		}
		tracked.Presets, tracked.Metrics = []metricsource.Preset{preset}, nil
		b.gatherer.Track(iris, tracked)
		look = b.waitFor(t, name, func(look metricsource.Look) bool { return look.Failure != nil })
		if look.Failure.Status != metricsource.NoSeries || !strings.Contains(look.Failure.Message, preset.Hint) {
			t.Errorf("%s: got %+v", name, look.Failure)
		}
	}
	tracked := trial(t, "traefik", metricsource.Metric{Name: "wrong", Query: "sum(("}, metricsource.Metric{Name: "two", Query: "up"},
		metricsource.Metric{Name: "nan", Query: "vector(0)/0"}, metricsource.Metric{Name: "number", Query: "sum(always)"})
	tracked.Presets = nil
	b.gatherer.Track(iris, tracked)
	b.waitFor(t, "queries", func(look metricsource.Look) bool {
		var got []metricsource.Status
		for _, reading := range look.Readings {
			got = append(got, failed(reading))
		}
		return cmp.Equal([]metricsource.Status{metricsource.Invalid, metricsource.Invalid, metricsource.Invalid, metricsource.Success}, got)
	})
}
