// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
)

// maxResponseBytes limits the memory that one response takes.
const maxResponseBytes = 64 << 20

// transport adds the bearer token and verifies the server with the CA. It reads both files for each
// request, because Kubernetes replaces them at any time.
type transport struct {
	tokenFile, caFile string

	mu   sync.Mutex
	ca   []byte
	base *http.Transport
}

func newTransport(tokenFile, caFile string) (*transport, error) {
	t := &transport{tokenFile: tokenFile, caFile: caFile}
	if _, err := t.current(); err != nil {
		return nil, err
	}
	if _, err := t.token(); err != nil {
		return nil, err
	}
	return t, nil
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	base, err := t.current()
	if err != nil {
		return nil, err
	}
	token, err := t.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		request = request.Clone(request.Context())
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = http.MaxBytesReader(nil, response.Body, maxResponseBytes)
	return response, nil
}

func (t *transport) token() (string, error) {
	if t.tokenFile == "" {
		return "", nil
	}
	token, err := os.ReadFile(t.tokenFile)
	if err != nil {
		return "", fmt.Errorf("reading the bearer token for Prometheus: %w", err)
	}
	return strings.TrimSpace(string(token)), nil
}

// current returns the transport for the present content of the CA file.
func (t *transport) current() (*http.Transport, error) {
	var ca []byte
	if t.caFile != "" {
		var err error
		if ca, err = os.ReadFile(t.caFile); err != nil {
			return nil, fmt.Errorf("reading the CA of Prometheus: %w", err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.base != nil && bytes.Equal(ca, t.ca) {
		return t.base, nil
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	if t.caFile != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("the CA file of Prometheus, %s, contains no certificate in PEM", t.caFile)
		}
		base.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if t.base != nil {
		t.base.CloseIdleConnections()
	}
	t.ca, t.base = ca, base
	return base, nil
}
