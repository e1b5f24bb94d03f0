// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package operator runs the operator of this repository outside of a local cluster, as the
// ServiceAccount and with the roles that it has inside a cluster.
package operator

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/test/cluster/checkout"
	"github.com/serinus-io/serinus/test/cluster/local"
)

// The operator's namespace and ServiceAccount.
const (
	Namespace      = "serinus-system"
	ServiceAccount = "serinus-controller-manager"
)

// Process is a running operator.
type Process struct {
	*local.Process
	// Metrics is the address and port of the metrics endpoint.
	Metrics string
}

// InstallCommands are the commands that install what `make deploy` installs, except the Deployment.
// They must run in the root folder of the repository.
var InstallCommands = []string{
	"kubectl apply --server-side -k test/cluster/config",
	"kubectl wait --for=condition=Established crd --all --timeout=60s",
	"kubectl apply --server-side -k config/runtimes",
}

// Start installs everything that the operator needs and launches it.
func Start(ctx context.Context, c *local.Cluster, root checkout.Root, settings Settings, progress func(line string)) error {
	begin := time.Now()
	if err := Install(ctx, c, root); err != nil {
		return err
	}
	if _, err := Launch(ctx, c, root, "operator", settings); err != nil {
		return err
	}
	progress(fmt.Sprintf("%-24s ready after %.1fs more", "operator", time.Since(begin).Seconds()))
	return nil
}

// Install installs everything that the operator needs in a cluster.
func Install(ctx context.Context, c *local.Cluster, root checkout.Root) error {
	for _, command := range InstallCommands {
		if out, err := Shell(ctx, c, root, command).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, out)
		}
	}
	return nil
}

// Shell returns a shell command with the cluster's kubeconfig, and with the kubectl of the
// cluster's version in PATH.
func Shell(ctx context.Context, c *local.Cluster, root checkout.Root, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = string(root)
	cmd.Env = append(os.Environ(),
		"KUBECONFIG="+c.Kubeconfig(),
		"PATH="+root.Tools()+string(os.PathListSeparator)+os.Getenv("PATH"),
	)
	return cmd
}

// Settings are overrides of the default configuration file, by section and key. The section ""
// holds top-level keys.
type Settings map[string]map[string]any

// Launch starts bin/manager and waits until it is ready. The name is that of its log and its
// configuration file; several operators can run at the same time.
func Launch(ctx context.Context, c *local.Cluster, root checkout.Root, name string, settings Settings) (*Process, error) {
	return LaunchProgram(ctx, c, root, root.Path("bin", "manager"), name, settings)
}

// LaunchProgram is like Launch for a program in another place.
func LaunchProgram(ctx context.Context, c *local.Cluster, root checkout.Root, program, name string, settings Settings) (*Process, error) {
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, Namespace, ServiceAccount)
	if err != nil {
		return nil, err
	}
	health, err := freeAddress()
	if err != nil {
		return nil, err
	}
	metrics, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(filepath.Dir(c.Kubeconfig()), name+".yaml")
	// The defaults of these settings assume that the operator runs in a pod.
	overrides := Settings{
		"health":         {"bindAddress": health},
		"metrics":        {"bindAddress": metrics},
		"leaderElection": {"namespace": Namespace},
	}
	if err := writeConfig(root, config, overrides, settings); err != nil {
		return nil, fmt.Errorf("writing the operator's configuration: %w", err)
	}
	process, err := c.Run(name, program, "--config="+config, "--kubeconfig="+kubeconfig)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("the operator is not ready after a minute; its log is %s", process.Log()))
	defer cancel()
	return &Process{Process: process, Metrics: metrics}, process.Await(ctx, "http://"+health+"/readyz")
}

func writeConfig(root checkout.Root, path string, changes ...Settings) error {
	defaults, err := os.ReadFile(root.Path("config", "manager", "config.yaml"))
	if err != nil {
		return err
	}
	var config map[string]any
	if err := yaml.Unmarshal(defaults, &config); err != nil {
		return err
	}
	for _, settings := range changes {
		for name, values := range settings {
			section, ok := config[name].(map[string]any)
			if name == "" {
				section, ok = config, true
			}
			if !ok {
				return fmt.Errorf("config/manager/config.yaml has no section %q", name)
			}
			maps.Copy(section, values)
		}
	}
	changed, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(path, changed, 0o600)
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
