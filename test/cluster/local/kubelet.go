// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

// apiServerOnNode returns the flags that make the API server reachable from pods and let it connect
// to the kubelet and to extension API servers.
func (c *Cluster) apiServerOnNode() ([]string, error) {
	toKubelet, err := c.clientFiles("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return nil, err
	}
	toExtensions, err := c.clientFiles("front-proxy", "front-proxy-client")
	if err != nil {
		return nil, err
	}
	return []string{
		"--bind-address=0.0.0.0", // In the cluster's network namespace.
		"--advertise-address=" + nodeAddress,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + toKubelet.cert,
		"--kubelet-client-key=" + toKubelet.key,
		"--proxy-client-cert-file=" + toExtensions.cert,
		"--proxy-client-key-file=" + toExtensions.key,
	}, nil
}

type files struct{ cert, key string }

func (c *Cluster) clientFiles(name, user string, groups ...string) (files, error) {
	f := files{cert: c.pki.path(name + ".crt"), key: c.pki.path(name + ".key")}
	id, err := c.pki.client(user, groups...)
	if err != nil {
		return f, err
	}
	return f, errors.Join(c.pki.write(name+".crt", id.cert), c.pki.write(name+".key", id.key))
}

func startKubelet(ctx context.Context, c *Cluster) error {
	kubeconfig, err := c.componentKubeconfig("system:node:"+nodeName, "system:nodes")
	if err != nil {
		return err
	}
	config, err := c.writeConfig("kubelet.yaml", c.kubeletConfig())
	if err != nil {
		return err
	}
	process, err := c.processes.start("kubelet", c.Tool("kubelet"), []string{
		"--config=" + config,
		"--kubeconfig=" + kubeconfig,
		"--hostname-override=" + nodeName,
		"--node-ip=" + nodeAddress,
	})
	if err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	return process.await(ctx, nodeReady(clients, nodeName))
}

// kubeletConfig turns off what manages the resources of the whole machine, because the machine does
// not belong to the node alone. Periods are short because tests wait for them.
func (c *Cluster) kubeletConfig() map[string]any {
	return map[string]any{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"address":                  nodeAddress,
		"containerRuntimeEndpoint": "unix://" + containerdSocket,
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": c.pki.path("ca.crt")},
		},
		"authorization":   map[string]any{"mode": "Webhook"},
		"clusterDNS":      []string{dnsServiceAddress},
		"clusterDomain":   "cluster.local",
		"resolvConf":      c.resolverConfig(),
		"podLogsDir":      filepath.Join(c.LogDir(), "pods"),
		"volumePluginDir": filepath.Join(c.dataDir, "volume-plugins"),

		"cgroupRoot":                    "/" + cgroupOf(c.dataDir),
		"cgroupDriver":                  "cgroupfs",
		"failCgroupV1":                  false,
		"failSwapOn":                    false,
		"enforceNodeAllocatable":        []string{},
		"localStorageCapacityIsolation": false,
		"oomScoreAdj":                   0,
		"makeIPTablesUtilChains":        false,

		"maxPods":                     250,
		"serializeImagePulls":         false,
		"imageGCHighThresholdPercent": 100,
		"evictionHard":                map[string]string{"memory.available": "50Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
		"kubeAPIQPS":                  200,
		"kubeAPIBurst":                400,
		"nodeStatusUpdateFrequency":   "2s",
		"syncFrequency":               "10s",
		"configMapAndSecretChangeDetectionStrategy": "Watch",
		"crashLoopBackOff":                          map[string]any{"maxContainerRestartPeriod": "1s"},
	}
}

func startKubeProxy(ctx context.Context, c *Cluster) error {
	kubeconfig, err := c.componentKubeconfig("system:kube-proxy")
	if err != nil {
		return err
	}
	const health = "127.0.0.1:10256"
	config, err := c.writeConfig("kube-proxy.yaml", map[string]any{
		"apiVersion":         "kubeproxy.config.k8s.io/v1alpha1",
		"kind":               "KubeProxyConfiguration",
		"mode":               "nftables",
		"clientConnection":   map[string]any{"kubeconfig": kubeconfig},
		"hostnameOverride":   nodeName,
		"clusterCIDR":        nodePodCIDR,
		"healthzBindAddress": health,
		"metricsBindAddress": "127.0.0.1:10249",
		"oomScoreAdj":        0,
		"nftables":           map[string]any{"minSyncPeriod": "100ms", "syncPeriod": "30s"},
		"conntrack":          map[string]any{"maxPerCore": 0, "min": 0}, // Do not change limits of the whole machine.
	})
	if err != nil {
		return err
	}
	process, err := c.processes.start("kube-proxy", c.Tool("kube-proxy"), []string{"--config=" + config})
	if err != nil {
		return err
	}
	return process.await(ctx, healthy("http://"+health+"/healthz"))
}

func (c *Cluster) writeConfig(name string, config map[string]any) (path string, err error) {
	data, err := yaml.Marshal(config)
	if err != nil {
		return "", err
	}
	path = filepath.Join(c.dataDir, name)
	return path, os.WriteFile(path, data, 0o600)
}

func nodeReady(clients kubernetes.Interface, name string) condition {
	return func(ctx context.Context) error {
		node, err := clients.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !isReady(node) {
			return fmt.Errorf("node %s is not ready", name)
		}
		return nil
	}
}
