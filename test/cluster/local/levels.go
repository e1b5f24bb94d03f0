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
	// Pods has, instead of simulated nodes, one that runs pods: kubelet, containerd
	// and kube-proxy, in namespaces of their own. It is what the demo needs. It needs
	// root; NodeSupported tells what is missing.
	Pods Level = "pods"
	// Node adds DNS for the pods and the metrics that autoscalers read.
	Node Level = "node"
	// Knative adds Knative Serving in pods of the real node, and a controller that
	// leads its Ingresses over the gateway.
	Knative Level = "knative"
)

// RunsPods reports whether the level has a real node.
func (l Level) RunsPods() bool { return l == Pods || l == Node || l == Knative }

// part is one thing that a level is made of.
type part struct {
	name string
	// tools are the programs it needs, by their names in hack/build-tools.
	tools []string
	// images are those it needs, by their names in test/images.
	images []string
	// start returns once the part does its work.
	start func(context.Context, *Cluster) error
}

// levels lists the parts of each level in steps: those of one step start at
// the same time, after those of the step before.
var levels = map[Level][][]part{
	ControlPlane: controlPlane,
	Simulated:    slices.Concat(controlPlane, simulation),
	Pods:         slices.Concat(ground, controlPlane, realNode),
	Node:         slices.Concat(ground, controlPlane, realNode, services),
	Knative:      slices.Concat(ground, controlPlane, realNode, services, knativeServing),
}

var (
	controlPlane = [][]part{
		{{name: "etcd", tools: []string{"etcd"}, start: startEtcd}},
		{{name: "kube-apiserver", tools: []string{"kube-apiserver"}, start: startAPIServer}},
	}
	controllers = part{name: "kube-controller-manager", tools: []string{"kube-controller-manager"}, start: startControllerManager}
	scheduler   = part{name: "kube-scheduler", tools: []string{"kube-scheduler"}, start: startScheduler}
	gateway     = part{name: "gateway", tools: []string{"traefik"}, start: startGateway}

	simulation = [][]part{{
		controllers,
		scheduler,
		{name: "nodes", tools: []string{"kwok"}, start: startNodes},
		gateway,
	}}

	ground   = [][]part{{{name: "network", start: startNetwork}}}
	realNode = [][]part{
		{
			controllers,
			scheduler,
			{name: "containerd", tools: []string{"containerd", "containerd-shim-runc-v2", "ctr"}, start: startContainerd},
		},
		{
			{name: "kubelet", tools: []string{"kubelet"}, start: startKubelet},
			{name: "kube-proxy", tools: []string{"kube-proxy"}, start: startKubeProxy},
			gateway,
		},
	}
	services = [][]part{{
		{name: "DNS", tools: []string{"coredns"}, start: startDNS},
		{name: "metrics-server", tools: []string{"metrics-server"}, start: startMetrics},
	}}

	knativeServing = [][]part{
		{{name: "Knative Serving", images: knativeImages, start: startKnative}},
		{{name: "Knative's ingress", tools: []string{"knative-ingress"}, start: startKnativeIngress}},
	}
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
	all := []Level{ControlPlane, Simulated, Pods, Node, Knative}
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

// Images lists the images that the level needs.
func (l Level) Images() []string {
	var images []string
	for _, step := range levels[l] {
		for _, p := range step {
			images = append(images, p.images...)
		}
	}
	return images
}
