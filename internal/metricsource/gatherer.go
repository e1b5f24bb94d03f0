// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"context"
	"reflect"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Trial says what to read for the rollout of one revision.
type Trial struct {
	// ID identifies the trial among those of its InferenceService.
	ID string
	Revisions
	// Began and Interval define the times of the looks: Began, Began+Interval and so on. Began is
	// truncated to milliseconds.
	Began    time.Time
	Interval time.Duration
	// History is the time before Began from which samples are read, too.
	History time.Duration
	// Presets are the candidates for the source, in order. The first that has series of the stable
	// is chosen. A single candidate must have them, too.
	Presets []Preset
	Metrics []Metric
	// Input is for the verdict function, such as the limits of the policy. The verdict is computed
	// again, without a query, when it changes.
	Input any
}

// start is the time from which samples are read.
func (t Trial) start() time.Time { return t.Began.Add(-t.History) }

// Metric is something to read. Exactly one of Counters, Query and FromPreset is set.
type Metric struct {
	Name     string
	Counters *Counters
	// Query is PromQL that gives one number. Its placeholders are replaced with the canary's.
	Query string
	// FromPreset selects counters of the chosen preset.
	FromPreset Part
	// Le is the bucket bound of the part Latency.
	Le string
}

// Part is a part of a preset.
type Part string

const (
	// Errors are the counters of all requests and of the bad responses.
	Errors Part = "Errors"
	// Buckets are all buckets of the latency histogram.
	Buckets Part = "Buckets"
	// Latency are the counters of all requests and of those slower than a bucket bound.
	Latency Part = "Latency"
)

// Look is what is known at one time.
type Look struct {
	At time.Time
	// Source is the name of the chosen preset. It is empty if there are no candidates, or if Failure
	// says why none was chosen.
	Source  string
	Failure *Failure
	// Readings are the metrics of the trial, in their order.
	Readings []Reading
}

// Reading is what is known of one metric. After a failure, it contains what was read before.
type Reading struct {
	Metric string
	// Failure says why this look has no new samples.
	Failure *Failure
	// Unsupported reports that the chosen preset has no such series.
	Unsupported bool
	// Through is the time until which everything has been read.
	Through time.Time
	// Series are the counters, and Values the results of a query. They must not be changed or kept.
	Series []Series
	Values []Sample
}

// Options configures a [Gatherer].
type Options[V any] struct {
	Client *Client
	Clock  clock.Clock
	// Concurrency limits the number of trials that query at the same time. It is at least 1.
	Concurrency int
	// Judge computes the verdict from a look. It must depend only on its arguments.
	Judge func(Trial, Look) V
	// Changed reports whether a reconciliation must know the new verdict. The first verdict of a
	// trial counts as changed.
	Changed func(before, after V) bool
	// Enqueue requests a reconciliation of an InferenceService. It must not block.
	Enqueue func(types.NamespacedName)
}

// Gatherer queries Prometheus for all current trials and keeps the last verdict of each.
type Gatherer[V any] struct {
	Options[V]
	slots chan struct{}

	mu     sync.Mutex
	ctx    context.Context // of the leader; nil before it starts
	trials map[types.NamespacedName]*task[V]
	wait   sync.WaitGroup
}

// task is a trial for which the gatherer queries. The lock of the gatherer guards input, verdict and
// judged.
type task[V any] struct {
	trial   Trial // without its input
	input   any
	verdict V
	judged  bool

	changed chan struct{}
	ctx     context.Context
	cancel  context.CancelFunc

	source  string
	readers []reader
	starts  startTimes
}

// NewGatherer returns a gatherer.
func NewGatherer[V any](options Options[V]) *Gatherer[V] {
	return &Gatherer[V]{
		Options: options, slots: make(chan struct{}, options.Concurrency),
		trials: map[types.NamespacedName]*task[V]{},
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (g *Gatherer[V]) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable. It returns when the context ends and no query runs any more.
func (g *Gatherer[V]) Start(ctx context.Context) error {
	g.mu.Lock()
	g.ctx = ctx
	for object, r := range g.trials {
		g.start(object, r)
	}
	g.mu.Unlock()
	<-ctx.Done()
	g.wait.Wait()
	return nil
}

// Track makes the gatherer query for the trial of an InferenceService, in place of an earlier one.
// For the same trial, it does nothing.
func (g *Gatherer[V]) Track(object types.NamespacedName, trial Trial) {
	trial.Began = trial.Began.UTC().Truncate(time.Millisecond)
	input := trial.Input
	trial.Input = nil
	g.mu.Lock()
	defer g.mu.Unlock()
	if known := g.trials[object]; known != nil {
		if reflect.DeepEqual(known.trial, trial) {
			if !reflect.DeepEqual(known.input, input) {
				known.input = input
				select {
				case known.changed <- struct{}{}:
				default:
				}
			}
			return
		}
		g.stop(object)
	}
	r := &task[V]{trial: trial, input: input, changed: make(chan struct{}, 1), starts: startTimes{began: trial.Began, known: map[string]int64{}}}
	g.trials[object] = r
	if g.ctx != nil && g.ctx.Err() == nil {
		g.start(object, r)
	}
}

// Forget ends the queries for an InferenceService.
func (g *Gatherer[V]) Forget(object types.NamespacedName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop(object)
}

// Verdict returns the last verdict of a trial; ok is false before the first one. It never waits for
// Prometheus.
func (g *Gatherer[V]) Verdict(object types.NamespacedName, id string) (verdict V, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.trials[object]
	if r == nil || r.trial.ID != id {
		return verdict, false
	}
	return r.verdict, r.judged
}

func (g *Gatherer[V]) start(object types.NamespacedName, r *task[V]) {
	r.ctx, r.cancel = context.WithCancel(g.ctx)
	g.wait.Go(func() { g.follow(object, r) })
}

func (g *Gatherer[V]) stop(object types.NamespacedName) {
	if r := g.trials[object]; r != nil && r.cancel != nil {
		r.cancel()
	}
	delete(g.trials, object)
}

// follow looks at the times of the trial until it ends. If it is late, it leaves out looks: the next
// one reads everything.
func (g *Gatherer[V]) follow(object types.NamespacedName, r *task[V]) {
	var look Look
	for r.ctx.Err() == nil {
		next, since := r.trial.Began, g.Clock.Since(r.trial.Began)
		if since >= 0 {
			at := next.Add(since.Truncate(r.trial.Interval))
			if at.After(look.At) {
				select {
				case g.slots <- struct{}{}:
				case <-r.ctx.Done():
					return
				}
				look = r.look(g.Client, at)
				<-g.slots
				g.judge(object, r, look)
				continue // A slow Prometheus may have made it late.
			}
			next = at.Add(r.trial.Interval)
		}
		timer := g.Clock.NewTimer(next.Sub(g.Clock.Now()))
		select {
		case <-timer.C():
		case <-r.changed:
			if !look.At.IsZero() {
				g.judge(object, r, look)
			}
		case <-r.ctx.Done():
		}
		timer.Stop()
	}
}

// judge computes the verdict and requests a reconciliation if it changed.
func (g *Gatherer[V]) judge(object types.NamespacedName, r *task[V], look Look) {
	g.mu.Lock()
	trial := r.trial
	trial.Input = r.input
	g.mu.Unlock()
	verdict := g.Judge(trial, look)

	g.mu.Lock()
	if r.ctx.Err() != nil {
		g.mu.Unlock()
		return
	}
	changed := !r.judged || g.Changed(r.verdict, verdict)
	r.verdict, r.judged = verdict, true
	g.mu.Unlock()
	if changed {
		g.Enqueue(object)
	}
}

// reader reads one metric. Exactly one field is set.
type reader struct {
	counters *counterReader
	query    *queryReader
	failure  *Failure
	// unsupported reports that the preset has no such counters.
	unsupported bool
}

func (r *task[V]) look(c *Client, at time.Time) Look {
	look := Look{At: at}
	if r.readers == nil {
		if failure := r.prepare(c, at); failure != nil {
			look.Failure = failure
			return look
		}
	}
	look.Source = r.source
	for i, metric := range r.trial.Metrics {
		reading := r.readers[i].read(r.ctx, c, r.trial, at)
		reading.Metric = metric.Name
		look.Readings = append(look.Readings, reading)
	}
	return look
}

func (r reader) read(ctx context.Context, c *Client, trial Trial, at time.Time) Reading {
	switch {
	case r.counters != nil:
		failure := r.counters.read(ctx, c, trial.start(), at)
		return Reading{Failure: failure, Through: r.counters.through, Series: r.counters.all()}
	case r.query != nil:
		failure := r.query.read(ctx, c, trial, at)
		return Reading{Failure: failure, Through: r.query.through, Values: r.query.values}
	default:
		return Reading{Failure: r.failure, Unsupported: r.unsupported}
	}
}

// prepare chooses the preset and creates the readers.
func (r *task[V]) prepare(c *Client, at time.Time) *Failure {
	var chosen Preset
	if len(r.trial.Presets) > 0 {
		var failure *Failure
		if chosen, failure = c.choose(r.ctx, r.trial.Presets, r.trial.Revisions, r.trial.start(), at); failure != nil {
			return failure
		}
	}
	readers := make([]reader, 0, len(r.trial.Metrics))
	for _, metric := range r.trial.Metrics {
		readers = append(readers, r.newReader(metric, chosen))
	}
	r.source, r.readers = chosen.Name, readers
	return nil
}

func (r *task[V]) newReader(metric Metric, preset Preset) reader {
	if metric.Query != "" {
		q, failure := newQueryReader(metric.Query, r.trial.Revisions)
		return reader{query: q, failure: failure}
	}
	counters := metric.Counters
	if metric.FromPreset != "" {
		var failure *Failure
		if counters, failure = preset.part(metric.FromPreset, metric.Le); failure != nil {
			return reader{failure: failure, unsupported: failure.Status == NoSeries}
		}
	}
	read, failure := newCounterReader(*counters, r.trial.Revisions, &r.starts)
	return reader{counters: read, failure: failure}
}
