// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

//go:embed manifests
var manifests embed.FS

// podCIDR is reserved for network benchmarks (RFC 2544) and is not routed, so that a request to a
// simulated pod cannot reach another machine.
const podCIDR = "198.18.0.1/16"

func startControllerManager(ctx context.Context, c *Cluster) error {
	return c.startKubernetes(ctx, "kube-controller-manager",
		"--use-service-account-credentials",
		"--service-account-private-key-file="+c.pki.path("tokens.key"),
		"--root-ca-file="+c.pki.path("ca.crt"),
		"--node-monitor-grace-period=5m", // Heartbeats can be late on a busy machine.
		"--concurrent-deployment-syncs=20",
		"--concurrent-replicaset-syncs=20",
		"--concurrent-service-endpoint-syncs=20",
		"--endpointslice-updates-batch-period=100ms",
		"--horizontal-pod-autoscaler-sync-period=5s",
	)
}

func startScheduler(ctx context.Context, c *Cluster) error {
	return c.startKubernetes(ctx, "kube-scheduler")
}

// startKubernetes starts kube-controller-manager or kube-scheduler as the user system:<name>, which
// Kubernetes' default roles are bound to.
func (c *Cluster) startKubernetes(ctx context.Context, name string, args ...string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	kubeconfig, err := c.componentKubeconfig("system:" + name)
	if err != nil {
		return err
	}
	process, err := c.processes.start(name, c.Tool(name), append([]string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--leader-elect=false",
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
	}, args...))
	if err != nil {
		return err
	}
	return process.await(ctx, healthy("https://"+loopback(port)+"/healthz"))
}

func startNodes(ctx context.Context, c *Cluster) error {
	stages, err := manifests.ReadFile("manifests/stages.yaml")
	if err != nil {
		return err
	}
	config := filepath.Join(c.dataDir, "kwok.yaml")
	if err := os.WriteFile(config, stages, 0o600); err != nil {
		return err
	}
	kubeconfig, err := c.componentKubeconfig("kwok", "system:masters")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	process, err := c.processes.start("kwok", c.Tool("kwok"), []string{
		"--config=" + config,
		"--kubeconfig=" + kubeconfig,
		"--manage-all-nodes",
		"--node-ip=127.0.0.1",
		"--node-lease-duration-seconds=40",
		"--cidr=" + podCIDR,
		"--server-address=" + loopback(port),
	})
	if err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	for i := range c.options.Nodes {
		name := fmt.Sprintf("node-%d", i+1)
		if _, err := clients.CoreV1().Nodes().Create(ctx, simulatedNode(name), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating node %s: %w", name, err)
		}
	}
	return process.await(ctx, nodesReady(clients))
}

func simulatedNode(name string) *corev1.Node {
	resources := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("64"),
		corev1.ResourceMemory:           resource.MustParse("512Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("2Ti"),
		corev1.ResourcePods:             resource.MustParse("5000"),
		"nvidia.com/gpu":                resource.MustParse("8"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				corev1.LabelHostname:   name,
				corev1.LabelOSStable:   "linux",
				corev1.LabelArchStable: runtime.GOARCH,
			},
			Annotations: map[string]string{"kwok.x-k8s.io/node": "fake"},
		},
		Status: corev1.NodeStatus{
			Capacity:    resources,
			Allocatable: resources,
			NodeInfo:    corev1.NodeSystemInfo{Architecture: runtime.GOARCH, OperatingSystem: "linux"},
		},
	}
}

func nodesReady(clients kubernetes.Interface) condition {
	return func(ctx context.Context) error {
		nodes, err := clients.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, node := range nodes.Items {
			if !isReady(&node) {
				return fmt.Errorf("node %s is not ready", node.Name)
			}
		}
		return nil
	}
}

func isReady(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}
