// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package prometheustest runs Prometheus in tests, and puts faults between it and the operator.
package prometheustest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"sync"
)

// Fault is what a [Proxy] does to the responses of Prometheus.
type Fault string

const (
	// None passes the responses on.
	None Fault = ""
	// Down closes the connection without a response.
	Down Fault = "Down"
	// Late does not respond before the client times out.
	Late Fault = "Late"
	// Error500 responds with status 500.
	Error500 Fault = "Error500"
	// NaN replaces all values.
	NaN Fault = "NaN"
	// Empty removes all series.
	Empty Fault = "Empty"
	// TwoSeries repeats each series with another label.
	TwoSeries Fault = "TwoSeries"
	// CutJSON ends the body in its middle.
	CutJSON Fault = "CutJSON"
)

// Faults are all faults.
var Faults = []Fault{Down, Late, Error500, NaN, Empty, TwoSeries, CutJSON}

// Proxy is a handler between a client and Prometheus.
type Proxy struct {
	proxy *httputil.ReverseProxy

	mu    sync.Mutex
	fault Fault
}

// NewProxy returns a proxy for the Prometheus with the address.
func NewProxy(address string) (*Proxy, error) {
	upstream, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	p := &Proxy{}
	p.proxy = &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(upstream)
			request.Out.Header.Del("Accept-Encoding") // The transport decompresses only if it asks itself.
		},
		ModifyResponse: p.modify,
	}
	return p, nil
}

// Set sets the fault of all further responses.
func (p *Proxy) Set(fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

func (p *Proxy) current() Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	switch p.current() {
	case Down:
		panic(http.ErrAbortHandler)
	case Late:
		_, _ = io.Copy(io.Discard, request.Body) // The server notices the client's end only after the body.
		<-request.Context().Done()
	case Error500:
		http.Error(w, "injected fault", http.StatusInternalServerError)
	default:
		p.proxy.ServeHTTP(w, request)
	}
}

var sampleValue = regexp.MustCompile(`,"[^"]*"\]`)

func (p *Proxy) modify(response *http.Response) error {
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	switch p.current() {
	case NaN:
		body = sampleValue.ReplaceAll(body, []byte(`,"NaN"]`))
	case Empty, TwoSeries:
		if body, err = changeSeries(body, p.current() == TwoSeries); err != nil {
			return err
		}
	case CutJSON:
		body = body[:len(body)/2]
	default:
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	response.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

func changeSeries(body []byte, repeat bool) ([]byte, error) {
	var response struct {
		Status string `json:"status"`
		Data   struct {
			ResultType string           `json:"resultType"`
			Result     []map[string]any `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &response); err != nil {
		return nil, fmt.Errorf("the response of Prometheus: %w", err)
	}
	series := response.Data.Result
	response.Data.Result = []map[string]any{}
	for _, one := range series {
		if !repeat {
			break
		}
		again := maps.Clone(one)
		labels, _ := one["metric"].(map[string]any)
		labels = maps.Clone(labels)
		labels["copy"] = "2"
		again["metric"] = labels
		response.Data.Result = append(response.Data.Result, one, again)
	}
	return json.Marshal(response)
}
