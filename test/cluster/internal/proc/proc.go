// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package proc reads the state of processes from /proc.
package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Identity identifies a process. The kernel reuses PIDs, so it includes the start time.
type Identity struct {
	PID int `json:"pid"`
	// Start is in clock ticks since boot. It is empty if there is no such process.
	Start string `json:"start"`
}

// Identify returns the identity of the process with the PID.
func Identify(pid int) Identity {
	s, err := readStatus(pid)
	if err != nil || s.zombie {
		return Identity{PID: pid}
	}
	return Identity{PID: pid, Start: s.start}
}

// Alive reports whether the process is still running.
func (i Identity) Alive() bool {
	return i.PID > 0 && i.Start != "" && Identify(i.PID).Start == i.Start
}

// Children returns the PIDs of a process's children, including zombies.
func Children(parent int) ([]int, error) {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			continue
		}
		// An error means that the process has ended meanwhile.
		if s, err := readStatus(pid); err == nil && s.parent == parent {
			children = append(children, pid)
		}
	}
	return children, nil
}

type status struct {
	parent int
	zombie bool
	start  string
}

func readStatus(pid int) (status, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return status{}, err
	}
	return parseStatus(string(data))
}

// parseStatus parses the content of /proc/PID/stat. The name of the program is in parentheses and
// can contain any character. The fields after it begin with the state and the parent; the start
// time is the 20th.
func parseStatus(text string) (status, error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const state, parent, start = 0, 1, 19
	if len(fields) <= start {
		return status{}, fmt.Errorf("%q is not in the format of /proc/PID/stat", text)
	}
	number, err := strconv.Atoi(fields[parent])
	if err != nil {
		return status{}, fmt.Errorf("parsing the parent PID of a process: %w", err)
	}
	return status{parent: number, zombie: fields[state] == "Z", start: fields[start]}, nil
}
