// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// emptyZone makes CoreDNS answer NXDOMAIN for all names outside of the cluster, which are
// unreachable anyway, so that programs do not wait for a timeout.
const emptyZone = "$ORIGIN .\n@ 30 IN SOA node.invalid. nobody.invalid. 1 30 30 30 30\n@ 30 IN NS node.invalid.\n"

func startDNS(ctx context.Context, c *Cluster) error {
	kubeconfig, err := c.componentKubeconfig("coredns", "system:masters")
	if err != nil {
		return err
	}
	zone, hosts, config := filepath.Join(c.dataDir, "empty.zone"), filepath.Join(c.dataDir, "hosts"), filepath.Join(c.dataDir, "Corefile")
	for path, content := range map[string]string{
		zone:   emptyZone,
		hosts:  hostsFile(c.options.Hosts),
		config: corefile(hosts, kubeconfig, zone),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	process, err := c.processes.start("coredns", c.Tool("coredns"), []string{"-conf=" + config})
	if err != nil {
		return err
	}
	if err := c.createDNSService(ctx); err != nil {
		return err
	}
	return process.await(ctx, healthy("http://"+dnsReady+"/ready"))
}

const dnsReady = "127.0.0.1:8181"

func corefile(hosts, kubeconfig, zone string) string {
	return fmt.Sprintf(`. {
	bind %s
	errors
	ready %s
	hosts %s {
		fallthrough
	}
	kubernetes cluster.local in-addr.arpa {
		kubeconfig %s
		pods insecure
		ttl 5
		fallthrough in-addr.arpa
	}
	file %s .
}
`, nodeAddress, dnsReady, hosts, kubeconfig, zone)
}

func hostsFile(hosts map[string]string) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		fmt.Fprintf(&text, "%s %s\n", hosts[name], name)
	}
	return text.String()
}

func (c *Cluster) createDNSService(ctx context.Context) error {
	manifest, err := manifests.ReadFile("manifests/dns.yaml")
	if err != nil {
		return err
	}
	manifest = bytes.ReplaceAll(manifest, []byte("NODE_ADDRESS"), []byte(nodeAddress))
	manifest = bytes.ReplaceAll(manifest, []byte("DNS_SERVICE_ADDRESS"), []byte(dnsServiceAddress))
	objects, err := Decode(manifest)
	if err != nil {
		return err
	}
	return c.Apply(ctx, objects)
}
