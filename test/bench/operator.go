// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/serinus-io/serinus/test/cluster/local"
	clusteroperator "github.com/serinus-io/serinus/test/cluster/operator"
)

type operator struct {
	process *local.Process
	metrics string // The URL of its metrics.
	token   string
}

// launchOperator starts the operator with the default configuration and the settings. It waits
// until the operator is ready and serves metrics.
func (b *bench) launchOperator(ctx context.Context, settings clusteroperator.Settings) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the operator is not ready after a minute"))
	defer cancel()
	started, err := clusteroperator.LaunchProgram(ctx, b.cluster, b.root, b.manager, "operator", settings)
	if started != nil {
		b.operator = &operator{process: started.Process, metrics: "https://" + started.Metrics + "/metrics", token: b.userToken}
	}
	if err != nil {
		return err
	}
	var metricsErr error
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, metricsErr = b.operator.activity(ctx)
		return metricsErr == nil, nil
	})
	if err != nil {
		return errors.Join(metricsErr, context.Cause(ctx))
	}
	return nil
}

// stopOperator terminates the operator gracefully, as the kubelet does.
func (b *bench) stopOperator(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("still running after a minute"))
	defer cancel()
	return b.operator.process.Stop(ctx)
}

func (b *bench) restartOperator(ctx context.Context, settings clusteroperator.Settings) error {
	if err := b.stopOperator(ctx); err != nil {
		return err
	}
	return b.launchOperator(ctx, settings)
}

func (b *bench) operatorLogTail() error {
	if b.operator == nil {
		return nil
	}
	data, err := os.ReadFile(b.operator.process.Log())
	if err != nil {
		return err
	}
	const lines = 15
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return fmt.Errorf("the end of the operator's log:\n%s", strings.Join(all[max(0, len(all)-lines):], "\n"))
}

type activity struct {
	reconciliations       int // Since the start of the process.
	queued, activeWorkers int
}

// activity reads the operator's metrics over HTTPS with a token, as Prometheus does.
func (o *operator) activity(ctx context.Context) (activity, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.metrics, http.NoBody)
	if err != nil {
		return activity{}, err
	}
	request.Header.Set("Authorization", "Bearer "+o.token)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // The certificate is self-signed.
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return activity{}, fmt.Errorf("reading the operator's metrics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return activity{}, fmt.Errorf("reading the operator's metrics: %s", response.Status)
	}
	var found activity
	into := map[string]*int{
		"controller_runtime_reconcile_total{": &found.reconciliations,
		"workqueue_depth{":                    &found.queued,
		"controller_runtime_active_workers{":  &found.activeWorkers,
	}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		for prefix, sum := range into {
			_, value, _ := strings.Cut(lines.Text(), "} ")
			if number, err := strconv.ParseFloat(value, 64); err == nil && strings.HasPrefix(lines.Text(), prefix) {
				*sum += int(number)
			}
		}
	}
	return found, lines.Err()
}

const (
	// idlePeriod is how long the operator must do nothing to count as idle. It is longer than the
	// operator's settlePeriod.
	idlePeriod  = 3 * time.Second
	waitTimeout = 20 * time.Minute
)

// idle waits until the operator is idle and returns its number of reconciliations.
func (b *bench) idle(ctx context.Context) (reconciliations int, err error) {
	last, since := -1, time.Now()
	err = wait.PollUntilContextTimeout(ctx, time.Second, waitTimeout, true, func(ctx context.Context) (bool, error) {
		now, err := b.operator.activity(ctx)
		if err != nil {
			return false, err
		}
		if now.reconciliations != last || now.queued+now.activeWorkers > 0 {
			last, since = now.reconciliations, time.Now()
		}
		return time.Since(since) >= idlePeriod, nil
	})
	return last, err
}

type memory struct{ resident, peak, anonymous int64 }

func (o *operator) memory() (memory, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", o.process.PID()))
	if err != nil {
		return memory{}, err
	}
	var found memory
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		kibibytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			continue
		}
		switch key {
		case "VmRSS":
			found.resident = kibibytes << 10
		case "VmHWM":
			found.peak = kibibytes << 10
		case "RssAnon":
			found.anonymous = kibibytes << 10
		}
	}
	if found.resident == 0 || found.peak == 0 {
		return memory{}, fmt.Errorf("/proc/%d/status has no VmRSS and VmHWM", o.process.PID())
	}
	return found, nil
}
