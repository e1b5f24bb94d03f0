// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"k8s.io/client-go/discovery"

	"github.com/serinus-io/serinus/test/cluster/local"
)

type machine struct {
	processor, memory, kernel string
	cores                     int
	kubernetes, serinus       string
	date                      time.Time
}

func thisMachine(ctx context.Context, cluster *local.Cluster) machine {
	m := machine{
		processor: field("/proc/cpuinfo", "model name"),
		memory:    installedMemory(),
		cores:     runtime.NumCPU(),
		date:      time.Now().UTC(),
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.kernel = strings.TrimSpace(string(kernel))
	}
	if clients, err := discovery.NewDiscoveryClientForConfig(cluster.Config()); err == nil {
		if version, err := clients.ServerVersion(); err == nil {
			m.kubernetes = version.GitVersion
		}
	}
	if commit, err := command(ctx, "", "git", "describe", "--always", "--dirty", "--tags"); err == nil {
		m.serinus = strings.TrimSpace(commit)
	}
	return m
}

func installedMemory() string {
	var kibibytes int64
	total := field("/proc/meminfo", "MemTotal")
	if _, err := fmt.Sscanf(total, "%d kB", &kibibytes); err != nil {
		return total
	}
	return fmt.Sprintf("%.1f GiB", float64(kibibytes)/(1<<20))
}

func field(path, key string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func (m machine) markdown() string {
	return fmt.Sprintf("%s, %d cores, %s, Linux %s; Kubernetes %s, %s, Serinus %s; %s.\n",
		m.processor, m.cores, m.memory, m.kernel, m.kubernetes, runtime.Version(), m.serinus, m.date.Format(time.DateOnly))
}
