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

// condition returns nil if it holds, otherwise an error that describes what is missing.
type condition func(context.Context) error

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

// healthy holds if the URL answers with status 200. It accepts self-signed certificates.
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

// apiServerReady holds once the API server has run its post-start hooks, which create its default
// roles and priority classes.
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
