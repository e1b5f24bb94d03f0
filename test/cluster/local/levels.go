// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Level says how much of a cluster runs.
type Level string

const (
	// ControlPlane is etcd and kube-apiserver, which is all that a controller
	// needs to write objects and to watch them. Nothing acts on them.
	ControlPlane Level = "control-plane"
	// Simulated adds the controllers and the scheduler of Kubernetes, nodes that
	// only pretend to run pods (KWOK), and a gateway (Traefik) that takes over
	// Gateway API routes. Its pods become ready but answer no requests.
	Simulated Level = "simulated"
)

// part is one thing that a level is made of.
type part struct {
	name string
	// tools are the programs it needs, by their names in hack/build-tools.
	tools []string
	// start returns once the part does its work.
	start func(context.Context, *Cluster) error
}

// levels lists the parts of each level in steps: those of one step start at
// the same time, after those of the step before.
var levels = map[Level][][]part{
	ControlPlane: controlPlane,
	Simulated:    slices.Concat(controlPlane, simulation),
}

var (
	controlPlane = [][]part{
		{{name: "etcd", tools: []string{"etcd"}, start: startEtcd}},
		{{name: "kube-apiserver", tools: []string{"kube-apiserver"}, start: startAPIServer}},
	}
	simulation = [][]part{{
		{name: "kube-controller-manager", tools: []string{"kube-controller-manager"}, start: startControllerManager},
		{name: "kube-scheduler", tools: []string{"kube-scheduler"}, start: startScheduler},
		{name: "nodes", tools: []string{"kwok"}, start: startNodes},
		{name: "gateway", tools: []string{"traefik"}, start: startGateway},
	}}
)

// ParseLevel returns the level of that name.
func ParseLevel(name string) (Level, error) {
	if _, ok := levels[Level(name)]; ok {
		return Level(name), nil
	}
	return "", fmt.Errorf("there is no level %q of a cluster: choose %s", name, strings.Join(LevelNames(), " or "))
}

// LevelNames lists the levels, the smallest first.
func LevelNames() []string {
	all := []Level{ControlPlane, Simulated}
	names := make([]string, 0, len(all))
	for _, l := range all {
		names = append(names, string(l))
	}
	return names
}

// Tools lists the programs that the level needs, kubectl for the user included.
func (l Level) Tools() []string {
	tools := []string{"kubectl"}
	for _, step := range levels[l] {
		for _, p := range step {
			tools = append(tools, p.tools...)
		}
	}
	return tools
}
