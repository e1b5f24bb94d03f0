// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package proc looks up processes of the system.
package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Identity identifies a process for good. Numbers of processes are used again;
// the number together with the time of the start is not.
type Identity struct {
	PID int `json:"pid"`
	// Start is in ticks since the system has started. It is empty if there is no
	// such process.
	Start string `json:"start"`
}

// Identify looks a process up.
func Identify(pid int) Identity {
	s, err := readStatus(pid)
	if err != nil || s.zombie {
		return Identity{PID: pid}
	}
	return Identity{PID: pid, Start: s.start}
}

// Alive reports whether the process still runs.
func (i Identity) Alive() bool {
	return i.PID > 0 && i.Start != "" && Identify(i.PID).Start == i.Start
}

// Children lists the processes that have this parent, those included that have
// ended and that it has not collected yet.
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
		// What cannot be read has ended meanwhile.
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

// parseStatus reads /proc/PID/stat. The name of the program, in parentheses, may
// hold anything. After it come the state, the parent and, eighteen fields on,
// the start.
func parseStatus(text string) (status, error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const state, parent, start = 0, 1, 19
	if len(fields) <= start {
		return status{}, fmt.Errorf("%q is not the status of a process", text)
	}
	number, err := strconv.Atoi(fields[parent])
	if err != nil {
		return status{}, fmt.Errorf("the parent in the status of a process: %w", err)
	}
	return status{parent: number, zombie: fields[state] == "Z", start: fields[start]}, nil
}
