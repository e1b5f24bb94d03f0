// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// The Gateway in manifests/gateway.yaml.
const (
	gatewayNamespace = "kserve"
	gatewayName      = "kserve-ingress-gateway"
)

const gatewayAPIModule = "sigs.k8s.io/gateway-api"

func startGateway(ctx context.Context, c *Cluster) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	c.gatewayPort = ports[0]
	if c.options.ForwardedPorts != nil {
		c.gatewayPort = c.options.ForwardedPorts.gatewayPort()
	}
	if err := c.installGatewayAPI(ctx); err != nil {
		return err
	}
	if err := c.createGateway(ctx); err != nil {
		return err
	}
	process, err := c.startTraefik(ports[1])
	if err != nil {
		return err
	}
	return process.await(ctx, c.gatewayProgrammed)
}

// installGatewayAPI applies the CRDs from the Go module in the version that the operator is built
// with.
func (c *Cluster) installGatewayAPI(ctx context.Context) error {
	dir, err := moduleDir(ctx, gatewayAPIModule)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "config", "crd", "standard", "*.yaml"))
	if err != nil || len(files) == 0 {
		return errors.Join(fmt.Errorf("no CRDs of the Gateway API found in %s", dir), err)
	}
	for _, file := range files {
		manifest, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		crds, err := Decode(manifest)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := c.Apply(ctx, crds); err != nil {
			return err
		}
	}
	return nil
}

func moduleDir(ctx context.Context, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("locating module %s (the working folder must be inside the repository): %w: %s", module, err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// createGateway creates the Gateway with the port that Traefik listens on, because Traefik matches
// listeners to its entry points by port.
func (c *Cluster) createGateway(ctx context.Context) error {
	manifest, err := manifests.ReadFile("manifests/gateway.yaml")
	if err != nil {
		return err
	}
	manifest = bytes.ReplaceAll(manifest, []byte("GATEWAY_PORT"), []byte(strconv.Itoa(c.gatewayPort)))
	objects, err := Decode(manifest)
	if err != nil {
		return err
	}
	return c.Apply(ctx, objects)
}

func (c *Cluster) startTraefik(adminPort int) (*process, error) {
	kubeconfig, err := c.componentKubeconfig("traefik", "system:masters")
	if err != nil {
		return nil, err
	}
	web, address := loopback(c.gatewayPort), "127.0.0.1"
	if c.options.Level.RunsPods() { // Pods must reach it, too.
		web, address = fmt.Sprintf(":%d", c.gatewayPort), nodeAddress
	}
	config, err := yaml.Marshal(map[string]any{
		"global": map[string]any{"checkNewVersion": false, "sendAnonymousUsage": false},
		"log":    map[string]any{"level": "INFO"},
		"entryPoints": map[string]any{
			"web":     map[string]any{"address": web},
			"traefik": map[string]any{"address": loopback(adminPort)},
		},
		"ping": map[string]any{},
		"providers": map[string]any{
			"providersThrottleDuration": "100ms",
			"kubernetesGateway":         map[string]any{"statusAddress": map[string]any{"ip": address}},
		},
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(c.dataDir, "traefik.yaml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return nil, err
	}
	return c.processes.start("traefik", c.Tool("traefik"), []string{"--configfile=" + path}, "KUBECONFIG="+kubeconfig)
}

func (c *Cluster) gatewayProgrammed(ctx context.Context) error {
	var class gatewayv1.GatewayClass
	if err := c.client.Get(ctx, client.ObjectKey{Name: "traefik"}, &class); err != nil {
		return err
	}
	if !apimeta.IsStatusConditionTrue(class.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusAccepted)) {
		return errors.New("the GatewayClass is not accepted")
	}
	var gateway gatewayv1.Gateway
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: gatewayNamespace, Name: gatewayName}, &gateway); err != nil {
		return err
	}
	if !apimeta.IsStatusConditionTrue(gateway.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed)) {
		return errors.New("the Gateway is not programmed")
	}
	return nil
}
