// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Answers asks a gateway once, beside a prober, and tells what is wrong if the
// answer is not 200. Until it is, there is no use in sending requests.
func Answers(ctx context.Context, gateway, host, path string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+gateway+path, http.NoBody)
	if err != nil {
		return err
	}
	request.Host = host
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answers %s", answer.Status)
	}
	return nil
}
