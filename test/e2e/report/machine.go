// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine describes the machine that the scenarios ran on.
type Machine struct {
	Processor string `json:"processor"`
	Cores     int    `json:"cores"`
	Memory    int64  `json:"memory"` // In bytes.
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
}

const unknown = "unknown"

// ThisMachine returns a description of this machine. It reads /proc.
func ThisMachine() Machine {
	m := Machine{
		Processor: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		Memory: bytes(field("/proc/meminfo", "MemTotal")), Kernel: unknown, Go: runtime.Version(),
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	return m
}

func field(path, key string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(string(data)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return unknown
}

func bytes(value string) int64 {
	kibibytes, err := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kibibytes << 10
}

func (m Machine) String() string {
	memory := unknown + " memory"
	if m.Memory > 0 {
		memory = fmt.Sprintf("%.1f GiB", float64(m.Memory)/(1<<30))
	}
	return fmt.Sprintf("%s, %d cores, %s, Linux %s, %s", m.Processor, m.Cores, memory, m.Kernel, m.Go)
}
