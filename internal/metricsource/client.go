// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"k8s.io/utils/clock"
)

// Config says how to reach Prometheus, or a server with the same API.
type Config struct {
	// Address is the URL of the server, with the path below which /api/v1 is.
	Address string
	// BearerTokenFile and CAFile may be empty. They are read again when they change.
	BearerTokenFile, CAFile string
	// Timeout limits each query.
	Timeout time.Duration
}

// Client queries Prometheus.
type Client struct {
	api     promv1.API
	timeout time.Duration
	clock   clock.PassiveClock
	metrics *Metrics
}

// NewClient returns a client. It does not connect yet.
func NewClient(config Config, timer clock.PassiveClock, metrics *Metrics) (*Client, error) {
	address, err := url.Parse(config.Address)
	if err != nil {
		return nil, fmt.Errorf("the address of Prometheus: %w", err)
	}
	if address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return nil, fmt.Errorf("the address of Prometheus is %q; write a URL such as http://prometheus.monitoring:9090", config.Address)
	}
	if config.Timeout <= 0 {
		return nil, errors.New("the timeout for queries to Prometheus must be positive")
	}
	transport, err := newTransport(config.BearerTokenFile, config.CAFile)
	if err != nil {
		return nil, err
	}
	return newClient(config, transport, timer, metrics)
}

func newClient(config Config, transport http.RoundTripper, timer clock.PassiveClock, metrics *Metrics) (*Client, error) {
	client, err := api.NewClient(api.Config{Address: config.Address, Client: &http.Client{
		Transport: transport,
		// A redirection could send the token to another server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}})
	if err != nil {
		return nil, fmt.Errorf("the address of Prometheus: %w", err)
	}
	return &Client{api: promv1.NewAPI(client), timeout: config.Timeout, clock: timer, metrics: metrics}, nil
}

// observe runs one query with the timeout, and measures it.
func observe[T any](ctx context.Context, c *Client, query func(context.Context) (T, *Failure)) (T, *Failure) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	start := c.clock.Now()
	result, failure := query(ctx)
	status := Success
	if failure != nil {
		status = failure.Status
	}
	c.metrics.observe(status, c.clock.Since(start))
	return result, failure
}

func check(query string, warnings promv1.Warnings, err error) *Failure {
	if err != nil {
		return failureOf(query, err)
	}
	if len(warnings) > 0 {
		// Thanos, for example, warns that a store did not respond, and leaves out its series.
		return &Failure{Status: Unavailable, Message: fmt.Sprintf("query %s: the response may be incomplete: %s", query, shorten(warnings[0]))}
	}
	return nil
}

// samples returns the raw samples of a selector after from, until to.
func (c *Client) samples(ctx context.Context, selector string, from, to time.Time) (model.Matrix, *Failure) {
	query := fmt.Sprintf("%s[%dms]", selector, to.Sub(from).Milliseconds())
	return observe(ctx, c, func(ctx context.Context) (model.Matrix, *Failure) {
		value, warnings, err := c.api.Query(ctx, query, to, promv1.WithTimeout(c.timeout))
		if failure := check(query, warnings, err); failure != nil {
			return nil, failure
		}
		matrix, ok := value.(model.Matrix)
		if !ok {
			return nil, invalid(query, "the response is a %T instead of a matrix", value)
		}
		for _, series := range matrix {
			if problem := counterProblem(series, to); problem != "" {
				return nil, invalid(query, "series %s: %s", series.Metric, problem)
			}
		}
		if len(matrix) == 0 {
			return nil, noSeries(query)
		}
		return matrix, nil
	})
}

func counterProblem(series *model.SampleStream, to time.Time) string {
	if len(series.Histograms) > 0 {
		return "it is a native histogram; a counter or a classic histogram is necessary"
	}
	last := model.Time(math.MinInt64)
	for _, sample := range series.Values {
		value := float64(sample.Value)
		switch {
		case !isNumber(value) || value < 0:
			return fmt.Sprintf("the value %s cannot be a counter's", sample.Value)
		case sample.Timestamp <= last:
			return "the samples are not in order"
		case sample.Timestamp.Time().After(to):
			return "there are samples of the future"
		}
		last = sample.Timestamp
	}
	return ""
}

// numbers returns the values of a query that gives one number, at from, from+step and so on. Times
// without exactly one number are left out. If the last time has none, this is a failure.
func (c *Client) numbers(ctx context.Context, query string, from, to time.Time, step time.Duration) ([]Sample, *Failure) {
	var samples []Sample
	_, failure := observe(ctx, c, func(ctx context.Context) (model.Matrix, *Failure) {
		value, warnings, err := c.api.QueryRange(ctx, query, promv1.Range{Start: from, End: to, Step: step}, promv1.WithTimeout(c.timeout))
		if failure := check(query, warnings, err); failure != nil {
			return nil, failure
		}
		matrix, ok := value.(model.Matrix)
		if !ok {
			return nil, invalid(query, "the response is a %T instead of a matrix", value)
		}
		var failure *Failure
		// Some servers align the times with the step, so the last one may be earlier.
		samples, failure = singleNumbers(query, matrix, to.Add(-step).UnixMilli())
		return matrix, failure
	})
	return samples, failure
}

// singleNumbers returns the times with one finite number. There must be one after the given time.
func singleNumbers(query string, matrix model.Matrix, after int64) ([]Sample, *Failure) {
	at := map[int64][]float64{}
	var last int64
	for _, series := range matrix {
		if len(series.Histograms) > 0 {
			return nil, invalid(query, "the result is a native histogram; one number is necessary")
		}
		for _, sample := range series.Values {
			moment := int64(sample.Timestamp)
			at[moment] = append(at[moment], float64(sample.Value))
			last = max(last, moment)
		}
	}
	var samples []Sample
	for _, time := range slices.Sorted(maps.Keys(at)) {
		if numbers := at[time]; len(numbers) == 1 && isNumber(numbers[0]) {
			samples = append(samples, Sample{Time: time, Value: numbers[0]})
		}
	}
	switch {
	case last <= after:
		return samples, noSeries(query)
	case len(at[last]) > 1:
		return samples, invalid(query, "the result has %d series; aggregate them into one number, for example with max()", len(at[last]))
	case !isNumber(at[last][0]):
		return samples, invalid(query, "the result is %v, which is no number", at[last][0])
	}
	return samples, nil
}

func isNumber(value float64) bool { return !math.IsNaN(value) && !math.IsInf(value, 0) }

// vector returns the result of an instant query. It may be empty.
func (c *Client) vector(ctx context.Context, query string, at time.Time) (model.Vector, *Failure) {
	return observe(ctx, c, func(ctx context.Context) (model.Vector, *Failure) {
		value, warnings, err := c.api.Query(ctx, query, at, promv1.WithTimeout(c.timeout))
		if failure := check(query, warnings, err); failure != nil {
			return nil, failure
		}
		vector, ok := value.(model.Vector)
		if !ok {
			return nil, invalid(query, "the response is a %T instead of a vector", value)
		}
		for _, element := range vector {
			if element.Histogram != nil || !isNumber(float64(element.Value)) {
				return nil, invalid(query, "the value %s is no number", element.Value)
			}
		}
		return vector, nil
	})
}
