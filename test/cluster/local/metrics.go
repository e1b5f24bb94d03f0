// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const metricsPort = 4443

// startMetrics starts metrics-server, which horizontal autoscalers need, and waits until the API
// server serves its API.
func startMetrics(ctx context.Context, c *Cluster) error {
	kubeconfig, err := c.componentKubeconfig("metrics-server", "system:masters")
	if err != nil {
		return err
	}
	process, err := c.processes.start("metrics-server", c.Tool("metrics-server"), []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=" + nodeAddress,
		fmt.Sprintf("--secure-port=%d", metricsPort),
		"--cert-dir=" + filepath.Join(c.dataDir, "metrics-server"),
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-insecure-tls", // The kubelet's certificate is self-signed.
		"--metric-resolution=10s",
		"--kubelet-request-timeout=5s",
	})
	if err != nil {
		return err
	}
	manifest, err := manifests.ReadFile("manifests/metrics.yaml")
	if err != nil {
		return err
	}
	objects, err := Decode(bytes.ReplaceAll(manifest, []byte("NODE_ADDRESS"), []byte(nodeAddress)))
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, objects); err != nil {
		return err
	}
	return process.await(ctx, c.metricsServed)
}

func (c *Cluster) metricsServed(ctx context.Context) error {
	service := &unstructured.Unstructured{}
	service.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"})
	if err := c.client.Get(ctx, client.ObjectKey{Name: "v1beta1.metrics.k8s.io"}, service); err != nil {
		return err
	}
	conditions, _, err := unstructured.NestedSlice(service.Object, "status", "conditions")
	if err != nil {
		return err
	}
	for _, one := range conditions {
		if state, ok := one.(map[string]any); ok && state["type"] == "Available" && state["status"] == "True" {
			return nil
		}
	}
	return fmt.Errorf("the metrics are not served: %v", conditions)
}
