// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// exporter serves metrics in Prometheus' text format, like a gateway or a model server.
type exporter struct {
	*httptest.Server

	mu      sync.Mutex
	down    bool
	metrics map[string]float64
}

func newExporter(t *testing.T) *exporter {
	t.Helper()
	e := &exporter{metrics: map[string]float64{}}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *exporter) address() string { return strings.TrimPrefix(e.URL, "http://") }

// change changes the metrics between two scrapes.
func (e *exporter) change(change func(metrics map[string]float64)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e.metrics)
}

func (e *exporter) setDown(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = down
}

// ServeHTTP implements http.Handler.
func (e *exporter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for _, name := range slices.Sorted(maps.Keys(e.metrics)) {
		fmt.Fprintf(w, "%s %v\n", name, e.metrics[name])
	}
}
