// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// condition returns nil once it holds, and until then an error that says what
// is missing.
type condition func(context.Context) error

// poll waits until the condition holds.
func poll(ctx context.Context, holds condition) error {
	const interval = 100 * time.Millisecond
	for {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := holds(attempt)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(interval):
		}
	}
}

// healthy holds if the address answers with 200. What listens there has made
// its own certificate if it has one at all.
func healthy(url string) condition {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	client := &http.Client{Transport: transport}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, response.Status)
		}
		return nil
	}
}

// apiServerReady holds once the API server has done all that it does at first,
// its own roles and priorities included.
func apiServerReady(config *rest.Config) condition {
	return func(ctx context.Context) error {
		clients, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		_, err = clients.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	}
}
