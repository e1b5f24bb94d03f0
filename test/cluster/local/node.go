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

// The addresses of a cluster. Those of the node and its pods are set aside for
// measurements between networks (RFC 2544) and are not routed anywhere; its
// network is its own in any case.
const (
	serviceCIDR       = "10.96.0.0/16"
	apiServiceAddress = "10.96.0.1"
	dnsServiceAddress = "10.96.0.10"
	nodeName          = "node-1"
	nodeAddress       = "198.18.0.1"
	nodePodCIDR       = "198.19.0.0/16"
)

// NodeAddress is the address of the real node: what listens there, pods can
// reach.
const NodeAddress = nodeAddress

// node is what the real node needs to know of itself.
type node struct {
	// mounts are those that were there before it.
	mounts []mount
	// snapshotter is how containerd lays the layers of images over each other.
	snapshotter string
}

// machineFolders are used by kubelet, containerd and CNI whatever one tells
// them. In the mounts of the cluster they are folders of its own; on the machine
// they stay empty.
var machineFolders = []string{"/var/lib/kubelet", "/var/lib/cni", "/var/log/containers"}

// kernelSettings are what kubelet would change, for the whole machine, if it did
// not find them.
var kernelSettings = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// startNetwork prepares the namespaces: folders that cover those of the machine,
// and one device with the node's address, which all that is not here is sent to.
// There it ends.
func startNetwork(ctx context.Context, c *Cluster) error {
	var err error
	if c.node.mounts, err = readMounts(); err != nil {
		return err
	}
	if c.options.Entrances != nil {
		c.options.Entrances.serve()
	}
	if err := c.coverFolders(ctx); err != nil {
		return fmt.Errorf("covering folders of the machine: %w", err)
	}
	if err := c.coverKernelSettings(ctx); err != nil {
		return fmt.Errorf("covering settings of the kernel: %w", err)
	}
	if err := makeCgroups(cgroupOf(c.dataDir)); err != nil {
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

// nodeDevice is a bridge because every kernel that can run pods has bridges.
const nodeDevice = "node"

func (c *Cluster) coverFolders(ctx context.Context) error {
	if err := c.coverResolver(ctx); err != nil {
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

// coverResolver makes programs on the node ask the DNS of the cluster. It covers
// /run with an empty folder, too, where /etc/resolv.conf may be a link into.
func (c *Cluster) coverResolver(ctx context.Context) error {
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		target = "" // Nobody uses it.
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

func (c *Cluster) coverKernelSettings(ctx context.Context) error {
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

// leaveNode ends what the processes of the node have started, and takes back
// what they and startNetwork have made. Most of it would go with the namespaces;
// but the program may live on and start the next cluster.
func (c *Cluster) leaveNode() error {
	if c.node.mounts == nil {
		return nil
	}
	if c.options.Entrances != nil {
		c.options.Entrances.Close()
	}
	err := errors.Join(isolated.EndOrphans(), unmountAllBut(c.node.mounts))
	if err != nil {
		return err
	}
	return errors.Join(removeNode(c.dataDir), resetNetwork())
}

func resetNetwork() error {
	return errors.Join(systemAlways("ip", "link", "delete", nodeDevice), systemAlways("nft", "flush", "ruleset"))
}

// removeNode removes what a node makes outside of its namespaces and its data folder. The machine's folders stay: to
// remove one takes it from under the mount of every other cluster, whose kubelet then writes on the machine.
func removeNode(dataDir string) error {
	return removeCgroups(cgroupRoot, cgroupOf(dataDir))
}

// mount is a mount, as /proc/self/mountinfo numbers and places it.
type mount struct{ id, place string }

func readMounts() ([]mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(data)), nil
}

func parseMounts(text string) []mount {
	const id, place = 0, 4
	var mounts []mount
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > place {
			mounts = append(mounts, mount{id: fields[id], place: unescape.Replace(fields[place])})
		}
	}
	return mounts
}

// unescape reads what the kernel writes for characters that separate fields.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// unmountAllBut takes away the mounts that are not among these, the latest first.
func unmountAllBut(kept []mount) error {
	all, err := readMounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range slices.Backward(all) {
		if !slices.Contains(kept, m) {
			errs = append(errs, systemAlways("umount", "--lazy", "--no-canonicalize", m.place))
		}
	}
	return errors.Join(errs...)
}
