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

// What a Config or a Target leaves out.
const (
	DefaultRate          = 100 // Requests a second, for each target.
	DefaultTimeout       = 10 * time.Second
	DefaultMaxDuration   = 30 * time.Minute
	DefaultMaxRequests   = 500_000
	DefaultMaxExamples   = 10
	DefaultKeptAlive     = 16
	defaultNewShare      = 0.5
	maxNewConnections    = 512
	maxRate              = 5000 // Of all targets together.
	idleConnectionsLive  = 15 * time.Second
	maxBody              = 1 << 20
	maxTextOfExample     = 300
	defaultContentType   = "application/json"
	defaultPath          = "/"
	contentTypeHeaderKey = "Content-Type"
)

// Config says where to, how much and for how long.
type Config struct {
	// Gateway is the address that all requests are sent to, such as 127.0.0.1:8080.
	Gateway string
	// Allowed are the networks, besides loopback, in which the gateway may be.
	// They must be private networks of the test's own.
	Allowed []netip.Prefix
	// Targets get a stream of requests each.
	Targets []Target
	// Timeout is how long a request may take, from when it was due to the end of its answer.
	Timeout time.Duration
	// MaxDuration and MaxRequests end the prober if nobody else does. The requests of all targets are counted together.
	MaxDuration time.Duration
	MaxRequests int
	// MaxExamples is how many errors of each kind are kept with their text, for each target. All are counted.
	MaxExamples int

	// dial replaces the network in tests.
	dial func(context.Context) (net.Conn, error)
}

// Target is a service that gets a stream of requests.
type Target struct {
	// Name tells targets apart in results; by default it is the host.
	Name string
	// Host is the host name that the gateway routes by.
	Host string
	Path string
	// Body is sent with each request, as JSON unless Header says otherwise.
	Body   []byte
	Header http.Header
	// Rate is how many requests are sent a second.
	Rate float64
	// NewConnections is the share of requests, from 0 to 1, that open a connection of their own; nil stands for half. The
	// others share KeptAlive connections at most, and wait for one where all are busy.
	NewConnections *float64
	KeptAlive      int
	// HTTP2 says that the requests are in HTTP/2 from the first byte, without TLS, as those of gRPC are.
	HTTP2 bool
	// Revision names the revision that gave an answer of 200, or nobody (""), which is an error. By default it is ServedBy.
	Revision func(answer *http.Response, body []byte) string
	// Check finds fault with the body of an answer of 200. By default every body is right.
	Check func(body []byte) error
}

// completed is the config with its defaults, or what is wrong with it.
func (c Config) completed() (Config, netip.AddrPort, error) {
	gateway, err := permitted(c.Gateway, c.Allowed)
	if err != nil {
		return c, gateway, err
	}
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.MaxDuration = cmp.Or(c.MaxDuration, DefaultMaxDuration)
	c.MaxRequests = cmp.Or(c.MaxRequests, DefaultMaxRequests)
	c.MaxExamples = cmp.Or(c.MaxExamples, DefaultMaxExamples)
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
		target, err := given.completed()
		if err != nil {
			return c, gateway, err
		}
		if names[target.Name] {
			return c, gateway, fmt.Errorf("two targets are called %q: give each a name of its own", target.Name)
		}
		names[target.Name] = true
		rate += target.Rate
		targets = append(targets, target)
	}
	if rate > maxRate {
		return c, gateway, fmt.Errorf("%.0f requests a second are too many: at most %d, of all targets together", rate, maxRate)
	}
	c.Targets = targets
	return c, gateway, nil
}

func (t Target) completed() (Target, error) {
	if t.Host == "" {
		return t, errors.New("a target has no host")
	}
	t.Name = cmp.Or(t.Name, t.Host)
	t.Path = cmp.Or(t.Path, defaultPath)
	t.Rate = cmp.Or(t.Rate, DefaultRate)
	t.KeptAlive = cmp.Or(t.KeptAlive, DefaultKeptAlive)
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
	case !(t.Rate > 0): // Nor is it NaN.
		return t, fmt.Errorf("target %s: a rate of %v requests a second; want more than 0", t.Name, t.Rate)
	case !(*t.NewConnections >= 0 && *t.NewConnections <= 1):
		return t, fmt.Errorf("target %s: a share of %v of new connections; want 0 to 1", t.Name, *t.NewConnections)
	case t.KeptAlive < 0:
		return t, fmt.Errorf("target %s: %d kept connections; want at least 1", t.Name, t.KeptAlive)
	}
	return t, nil
}
