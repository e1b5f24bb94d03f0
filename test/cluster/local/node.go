// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/serinus-io/serinus/test/cluster/isolated"
)

// The addresses of a cluster. The addresses of the node and its pods are in the range that is
// reserved for network benchmarks (RFC 2544) and is not routed.
const (
	serviceCIDR       = "10.96.0.0/16"
	apiServiceAddress = "10.96.0.1"
	dnsServiceAddress = "10.96.0.10"
	nodeName          = "node-1"
	nodeAddress       = "198.18.0.1"
	nodePodCIDR       = "198.19.0.0/16"
)

// NodeAddress is the address of the real node. Pods can connect to it.
const NodeAddress = nodeAddress

type node struct {
	// mounts are the mounts that existed before the node was set up.
	mounts      []mount
	snapshotter string
}

// machineFolders are used by the kubelet, containerd and CNI regardless of their configuration. In
// the cluster's mount namespace they are replaced by bind mounts, so that they stay empty on the
// machine.
var machineFolders = []string{"/var/lib/kubelet", "/var/lib/cni", "/var/log/containers"}

// kernelSettings are the sysctls that the kubelet would set for the whole machine if it found other
// values.
var kernelSettings = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// startNetwork sets up the namespaces: bind mounts over folders and sysctls of the machine,
// cgroups, and a network device with the node's address. The default route leads to that device, so
// packets to other networks go nowhere.
func startNetwork(ctx context.Context, c *Cluster) error {
	var err error
	if c.node.mounts, err = readMounts(); err != nil {
		return err
	}
	if c.options.ForwardedPorts != nil {
		c.options.ForwardedPorts.serve()
	}
	if err := c.mountFolders(ctx); err != nil {
		return fmt.Errorf("mounting over folders of the machine: %w", err)
	}
	if err := c.mountKernelSettings(ctx); err != nil {
		return fmt.Errorf("mounting over kernel settings: %w", err)
	}
	if err := createCgroups(cgroupOf(c.dataDir)); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"link", "add", nodeDevice, "type", "bridge"},
		{"address", "add", nodeAddress + "/24", "dev", nodeDevice},
		{"link", "set", nodeDevice, "up"},
		{"route", "add", "default", "dev", nodeDevice},
	} {
		if err := system(ctx, "ip", args...); err != nil {
			return err
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
}

// nodeDevice is a bridge because every kernel that can run pods supports bridges.
const nodeDevice = "node"

func (c *Cluster) mountFolders(ctx context.Context) error {
	if err := c.mountResolverConfig(ctx); err != nil {
		return err
	}
	for _, folder := range machineFolders {
		own := filepath.Join(c.dataDir, "machine", folder)
		if err := errors.Join(os.MkdirAll(own, 0o755), os.MkdirAll(folder, 0o755)); err != nil {
			return err
		}
		if err := system(ctx, "mount", "--bind", own, folder); err != nil {
			return err
		}
	}
	return nil
}

// mountResolverConfig makes programs on the node use the cluster's DNS. It also mounts an empty
// file system on /run, which /etc/resolv.conf may link into.
func (c *Cluster) mountResolverConfig(ctx context.Context) error {
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		target = "" // There is no such file.
	}
	if err := system(ctx, "mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"); err != nil {
		return err
	}
	own := c.resolverConfig()
	if err := os.WriteFile(own, []byte("nameserver "+nodeAddress+"\n"), 0o644); err != nil {
		return err
	}
	if strings.HasPrefix(target, "/run/") {
		if err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, nil, 0o644)); err != nil {
			return err
		}
	}
	if target == "" {
		return nil
	}
	return system(ctx, "mount", "--bind", own, target)
}

func (c *Cluster) resolverConfig() string { return filepath.Join(c.dataDir, "resolv.conf") }

func (c *Cluster) mountKernelSettings(ctx context.Context) error {
	for name, value := range kernelSettings {
		own := filepath.Join(c.dataDir, "machine", "sys", name)
		if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(own, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := system(ctx, "mount", "--bind", own, "/proc/sys/"+name); err != nil {
			return err
		}
	}
	return nil
}

// cleanUpNode kills the processes that the node's processes have started, and undoes what they and
// startNetwork have set up. The end of the namespaces would undo most of it, but the program may go
// on and start another cluster.
func (c *Cluster) cleanUpNode() error {
	if c.node.mounts == nil {
		return nil
	}
	if c.options.ForwardedPorts != nil {
		c.options.ForwardedPorts.Close()
	}
	err := errors.Join(isolated.KillOrphans(), unmountAllExcept(c.node.mounts))
	if err != nil {
		return err
	}
	return errors.Join(removeNode(c.dataDir), resetNetwork())
}

func resetNetwork() error {
	return errors.Join(systemNoContext("ip", "link", "delete", nodeDevice), systemNoContext("nft", "flush", "ruleset"))
}

// removeNode removes what a node creates outside of its namespaces and its data folder. It keeps
// machineFolders: removing one would break the mount of every other cluster, whose kubelet would
// then write to the machine.
func removeNode(dataDir string) error {
	return removeCgroups(cgroupRoot, cgroupOf(dataDir))
}

type mount struct{ id, point string }

func readMounts() ([]mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(data)), nil
}

func parseMounts(text string) []mount {
	const id, point = 0, 4
	var mounts []mount
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > point {
			mounts = append(mounts, mount{id: fields[id], point: unescape.Replace(fields[point])})
		}
	}
	return mounts
}

// unescape decodes the kernel's escapes for characters that separate fields.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// unmountAllExcept unmounts all mounts but the kept ones, the latest first.
func unmountAllExcept(kept []mount) error {
	all, err := readMounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range slices.Backward(all) {
		if !slices.Contains(kept, m) {
			errs = append(errs, systemNoContext("umount", "--lazy", "--no-canonicalize", m.point))
		}
	}
	return errors.Join(errs...)
}
