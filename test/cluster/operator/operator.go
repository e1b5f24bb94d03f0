// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package operator runs the operator of this repository beside a local cluster
// with what it would have inside: its own ServiceAccount, and no more rights
// than the roles that come with it.
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

// Who the operator is.
const (
	Namespace      = "serinus-system"
	ServiceAccount = "serinus-controller-manager"
)

// Process is an operator that runs.
type Process struct {
	*local.Process
	// Metrics is the address and port of its metrics.
	Metrics string
}

// InstallCommands set up in a cluster what `make deploy` does, except for the
// Deployment. They are meant for the top folder of the repository.
var InstallCommands = []string{
	"kubectl apply --server-side -k test/cluster/config",
	"kubectl wait --for=condition=Established crd --all --timeout=60s",
	"kubectl apply --server-side -k config/runtimes",
}

// Start installs all that the operator needs, and launches it.
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

// Install sets up in a cluster all that the operator needs.
func Install(ctx context.Context, c *local.Cluster, root checkout.Root) error {
	for _, command := range InstallCommands {
		if out, err := Shell(ctx, c, root, command).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, out)
		}
	}
	return nil
}

// Shell prepares a command line for which the cluster is the current one, and
// whose kubectl is of its version.
func Shell(ctx context.Context, c *local.Cluster, root checkout.Root, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = string(root)
	cmd.Env = append(os.Environ(),
		"KUBECONFIG="+c.Kubeconfig(),
		"PATH="+root.Tools()+string(os.PathListSeparator)+os.Getenv("PATH"),
	)
	return cmd
}

// Settings are values for keys of the configuration, by section: what differs
// from the file that is shipped. Keys outside of all sections are under "".
type Settings map[string]map[string]any

// Launch starts the program bin/manager, and waits until it works. Its log and its
// configuration file have the name, as there may be several.
func Launch(ctx context.Context, c *local.Cluster, root checkout.Root, name string, settings Settings) (*Process, error) {
	return LaunchProgram(ctx, c, root, root.Path("bin", "manager"), name, settings)
}

// LaunchProgram is Launch for a program that is somewhere else.
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
	// What cannot hold outside of a pod: the addresses, and where the lease is.
	outside := Settings{
		"health":         {"bindAddress": health},
		"metrics":        {"bindAddress": metrics},
		"leaderElection": {"namespace": Namespace},
	}
	if err := writeConfig(root, config, outside, settings); err != nil {
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

// writeConfig takes the configuration that is shipped and changes settings of it.
func writeConfig(root checkout.Root, path string, changes ...Settings) error {
	shipped, err := os.ReadFile(root.Path("config", "manager", "config.yaml"))
	if err != nil {
		return err
	}
	var config map[string]any
	if err := yaml.Unmarshal(shipped, &config); err != nil {
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
