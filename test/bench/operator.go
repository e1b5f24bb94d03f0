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

// operator is the operator's process.
type operator struct {
	process *local.Process
	metrics string // The address of its metrics.
	token   string
}

// launch starts the operator and waits until it is ready and its metrics can be read. It runs on the configuration that is shipped, in which only
// what cannot hold outside of a pod is changed, and what the settings say.
func (b *bench) launch(ctx context.Context, settings clusteroperator.Settings) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the operator is not ready after a minute"))
	defer cancel()
	started, err := clusteroperator.LaunchProgram(ctx, b.cluster, b.root, b.manager, "operator", settings)
	if started != nil {
		b.operator = &operator{process: started.Process, metrics: "https://" + started.Metrics + "/metrics", token: b.userToken}
	}
	if err != nil {
		return err
	}
	var refusal error
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, refusal = b.operator.activity(ctx)
		return refusal == nil, nil
	})
	if err != nil {
		return errors.Join(refusal, context.Cause(ctx))
	}
	return nil
}

// dismiss stops the operator as the kubelet would.
func (b *bench) dismiss(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("still running after a minute"))
	defer cancel()
	return b.operator.process.Stop(ctx)
}

// relaunch stops the operator and starts another one.
func (b *bench) relaunch(ctx context.Context, settings clusteroperator.Settings) error {
	if err := b.dismiss(ctx); err != nil {
		return err
	}
	return b.launch(ctx, settings)
}

// operatorsLastWords are the end of the operator's log, for when something went wrong.
func (b *bench) operatorsLastWords() error {
	if b.operator == nil {
		return nil
	}
	data, err := os.ReadFile(b.operator.process.Log())
	if err != nil {
		return err
	}
	const lines = 15
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return fmt.Errorf("the operator said last:\n%s", strings.Join(all[max(0, len(all)-lines):], "\n"))
}

// activity is what the operator is doing, by its metrics.
type activity struct {
	passes        int // Since it was started.
	queued, inUse int
}

// activity reads the operator's metrics, as Prometheus would: over HTTPS with a token.
func (o *operator) activity(ctx context.Context) (activity, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.metrics, http.NoBody)
	if err != nil {
		return activity{}, err
	}
	request.Header.Set("Authorization", "Bearer "+o.token)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // The operator signs for itself.
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
		"controller_runtime_reconcile_total{": &found.passes,
		"workqueue_depth{":                    &found.queued,
		"controller_runtime_active_workers{":  &found.inUse,
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
	// quiet is for how long nothing may happen until the operator counts as idle. It is longer than the settlePeriod.
	quiet = 3 * time.Second
	// patience bounds every wait.
	patience = 20 * time.Minute
)

// idle waits until the operator has not worked on anything for a while, and returns how often it has.
func (b *bench) idle(ctx context.Context) (passes int, err error) {
	last, since := -1, time.Now()
	err = wait.PollUntilContextTimeout(ctx, time.Second, patience, true, func(ctx context.Context) (bool, error) {
		now, err := b.operator.activity(ctx)
		if err != nil {
			return false, err
		}
		if now.passes != last || now.queued+now.inUse > 0 {
			last, since = now.passes, time.Now()
		}
		return time.Since(since) >= quiet, nil
	})
	return last, err
}

// memory is what a process has in use, in bytes.
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
		return memory{}, fmt.Errorf("/proc/%d/status tells no VmRSS and VmHWM", o.process.PID())
	}
	return found, nil
}
