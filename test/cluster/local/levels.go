// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Level determines which parts of a cluster run.
type Level string

const (
	// ControlPlane is etcd and kube-apiserver. A controller can write and watch objects, but no
	// other controller acts on them.
	ControlPlane Level = "control-plane"
	// Simulated adds the controllers and the scheduler of Kubernetes, simulated nodes (KWOK), and a
	// gateway (Traefik) that serves routes of the Gateway API. Pods become ready but answer no
	// requests.
	Simulated Level = "simulated"
	// Pods has one real node instead of simulated ones: kubelet, containerd and kube-proxy in
	// separate namespaces. The demo uses it. It needs root; NodeSupported reports what is missing.
	Pods Level = "pods"
	// Node adds DNS and the resource metrics that autoscalers use.
	Node Level = "node"
	// Knative adds Knative Serving, and a controller that serves its Ingresses through the gateway.
	Knative Level = "knative"
)

// RunsPods reports whether the level has a real node.
func (l Level) RunsPods() bool { return l == Pods || l == Node || l == Knative }

type part struct {
	name string
	// tools are names in hack/build-tools, and images names in test/images.
	tools  []string
	images []string
	start  func(context.Context, *Cluster) error
}

// levels lists the parts of each level in steps. The parts of a step start concurrently, after
// those of the previous step.
var levels = map[Level][][]part{
	ControlPlane: controlPlane,
	Simulated:    slices.Concat(controlPlane, simulation),
	Pods:         slices.Concat(nodeNetwork, controlPlane, realNode),
	Node:         slices.Concat(nodeNetwork, controlPlane, realNode, services),
	Knative:      slices.Concat(nodeNetwork, controlPlane, realNode, services, knativeServing),
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

	nodeNetwork = [][]part{{{name: "network", start: startNetwork}}}
	realNode    = [][]part{
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

// ParseLevel returns the level with the name.
func ParseLevel(name string) (Level, error) {
	if _, ok := levels[Level(name)]; ok {
		return Level(name), nil
	}
	return "", fmt.Errorf("unknown level %q of a cluster: choose %s", name, strings.Join(LevelNames(), " or "))
}

// LevelNames returns the names of the levels, the smallest first.
func LevelNames() []string {
	all := []Level{ControlPlane, Simulated, Pods, Node, Knative}
	names := make([]string, 0, len(all))
	for _, l := range all {
		names = append(names, string(l))
	}
	return names
}

// Tools returns the programs that the level needs, including kubectl.
func (l Level) Tools() []string {
	tools := []string{"kubectl"}
	for _, step := range levels[l] {
		for _, p := range step {
			tools = append(tools, p.tools...)
		}
	}
	return tools
}

// Images returns the images that the level needs.
func (l Level) Images() []string {
	var images []string
	for _, step := range levels[l] {
		for _, p := range step {
			images = append(images, p.images...)
		}
	}
	return images
}
