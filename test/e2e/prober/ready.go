// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Answers sends one request to a gateway and returns an error unless the status is 200. Callers
// wait for success before they start a prober.
func Answers(ctx context.Context, gateway, host, path string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+gateway+path, http.NoBody)
	if err != nil {
		return err
	}
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway responds with %s", response.Status)
	}
	return nil
}
