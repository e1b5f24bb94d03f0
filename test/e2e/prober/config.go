// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Defaults and limits of a Config and a Target.
const (
	DefaultRate          = 100 // Requests per second for each target.
	DefaultTimeout       = 10 * time.Second
	defaultMaxDuration   = 30 * time.Minute
	defaultMaxRequests   = 500_000
	defaultMaxExamples   = 10
	defaultKeptAlive     = 16
	defaultNewShare      = 0.5
	maxNewConnections    = 512
	maxRate              = 5000 // Requests per second for all targets together.
	idleConnTimeout      = 15 * time.Second
	maxBody              = 1 << 20
	maxErrorText         = 300
	defaultContentType   = "application/json"
	defaultPath          = "/"
	contentTypeHeaderKey = "Content-Type"
)

// Config configures a Prober.
type Config struct {
	// Gateway is the address that all requests are sent to, such as 127.0.0.1:8080.
	Gateway string
	// Allowed are networks, in addition to loopback, that may contain the gateway. They must be
	// private networks of the test.
	Allowed []netip.Prefix
	Targets []Target
	// Timeout is the maximum time from when a request is due to the end of its response.
	Timeout time.Duration
	// MaxDuration and MaxRequests stop the prober. MaxRequests counts the requests of all targets.
	MaxDuration time.Duration
	MaxRequests int
	// MaxExamples is how many errors of each kind are kept with their text for each target. All
	// errors are counted.
	MaxExamples int

	dial func(context.Context) (net.Conn, error)
}

// Target is a service that gets a stream of requests.
type Target struct {
	// Name identifies the target in results. It defaults to the host.
	Name string
	// Host is the host name that the gateway routes by.
	Host string
	Path string
	// Body is the body of each request. The content type defaults to JSON.
	Body   []byte
	Header http.Header
	Rate   float64
	// NewConnections is the share of requests, from 0 to 1, that open a new connection. It defaults
	// to 0.5. The others share at most KeptAlive connections and wait if all are busy.
	NewConnections *float64
	KeptAlive      int
	// HTTP2 sends the requests over HTTP/2 without TLS and with prior knowledge, as gRPC does.
	HTTP2 bool
	// Revision returns the revision that sent a response with status 200. An empty name is an
	// error. It defaults to ServedBy.
	Revision func(response *http.Response, body []byte) string
	// Check checks the body of a response with status 200. By default every body is correct.
	Check func(body []byte) error
}

func (c Config) withDefaults() (Config, netip.AddrPort, error) {
	gateway, err := parseGateway(c.Gateway, c.Allowed)
	if err != nil {
		return c, gateway, err
	}
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.MaxDuration = cmp.Or(c.MaxDuration, defaultMaxDuration)
	c.MaxRequests = cmp.Or(c.MaxRequests, defaultMaxRequests)
	c.MaxExamples = cmp.Or(c.MaxExamples, defaultMaxExamples)
	if c.Timeout < 0 || c.MaxDuration < 0 || c.MaxRequests < 0 || c.MaxExamples < 0 {
		return c, gateway, errors.New("limits must be positive")
	}
	if len(c.Targets) == 0 {
		return c, gateway, errors.New("no target")
	}
	targets := make([]Target, 0, len(c.Targets))
	names := map[string]bool{}
	rate := 0.0
	for _, given := range c.Targets {
		target, err := given.withDefaults()
		if err != nil {
			return c, gateway, err
		}
		if names[target.Name] {
			return c, gateway, fmt.Errorf("two targets have the name %q; give each its own name", target.Name)
		}
		names[target.Name] = true
		rate += target.Rate
		targets = append(targets, target)
	}
	if rate > maxRate {
		return c, gateway, fmt.Errorf("%.0f requests per second are too many; use at most %d for all targets together", rate, maxRate)
	}
	c.Targets = targets
	return c, gateway, nil
}

func (t Target) withDefaults() (Target, error) {
	if t.Host == "" {
		return t, errors.New("a target has no host")
	}
	t.Name = cmp.Or(t.Name, t.Host)
	t.Path = cmp.Or(t.Path, defaultPath)
	t.Rate = cmp.Or(t.Rate, DefaultRate)
	t.KeptAlive = cmp.Or(t.KeptAlive, defaultKeptAlive)
	if t.NewConnections == nil {
		t.NewConnections = new(defaultNewShare)
	}
	if t.Revision == nil {
		t.Revision = ServedBy
	}
	t.Header = maps.Clone(t.Header)
	if t.Header == nil {
		t.Header = http.Header{}
	}
	if t.Header.Get(contentTypeHeaderKey) == "" {
		t.Header.Set(contentTypeHeaderKey, defaultContentType)
	}
	switch {
	case t.Path[0] != '/':
		return t, fmt.Errorf("target %s: path %q does not begin with a slash", t.Name, t.Path)
	case !(t.Rate > 0): // Also rejects NaN.
		return t, fmt.Errorf("target %s: the rate is %v requests per second; use more than 0", t.Name, t.Rate)
	case !(*t.NewConnections >= 0 && *t.NewConnections <= 1):
		return t, fmt.Errorf("target %s: the share of new connections is %v; use 0 to 1", t.Name, *t.NewConnections)
	case t.KeptAlive < 0:
		return t, fmt.Errorf("target %s: %d kept-alive connections; use at least 1", t.Name, t.KeptAlive)
	}
	return t, nil
}
