// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"

	"github.com/serinus-io/serinus/test/cluster/image"
)

const (
	containerdState  = "/run/containerd"
	containerdSocket = containerdState + "/containerd.sock"
	pauseImage       = "dev.local/pause:1"
	pausePackage     = "github.com/serinus-io/serinus/test/cluster/image/pause"
)

// containerdConfig leaves OOM scores alone because a container may not be allowed to lower them.
var containerdConfig = template.Must(template.New("containerd.toml").Parse(`version = 3
root = "{{.Root}}"
state = "{{.State}}"
oom_score = 0

[grpc]
address = "{{.Socket}}"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "{{.Snapshotter}}"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{{.Pause}}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{{.Plugins}}"]
conf_dir = "{{.Networks}}"

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{{.Runc}}"
SystemdCgroup = false
`))

// podNetwork connects each pod to the node with a veth pair and without a bridge, so that the node
// routes all traffic of a pod and kube-proxy's rules apply to it.
const podNetwork = `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "ptp",
    "ipam": {
      "type": "host-local",
      "ranges": [[{"subnet": "%s"}]],
      "routes": [{"dst": "0.0.0.0/0"}],
      "dataDir": "%s"
    }
  }]
}
`

func startContainerd(ctx context.Context, c *Cluster) error {
	config, err := c.writeContainerdConfig(ctx)
	if err != nil {
		return err
	}
	process, err := c.processes.start("containerd", c.Tool("containerd"), []string{"--config=" + config},
		"PATH="+c.options.Tools+string(os.PathListSeparator)+searchPath()) // containerd looks up its shim in PATH.
	if err != nil {
		return err
	}
	err = process.await(ctx, func(ctx context.Context) error { return c.ctr(ctx, "version") })
	if err != nil {
		return err
	}
	return c.loadPause(ctx)
}

func (c *Cluster) writeContainerdConfig(ctx context.Context) (path string, err error) {
	runc, err := findProgram("runc")
	if err != nil {
		return "", err
	}
	plugins, err := findPlugins()
	if err != nil {
		return "", err
	}
	c.node.snapshotter = c.chooseSnapshotter(ctx)
	networks := filepath.Join(c.dataDir, "networks")
	if err := os.MkdirAll(networks, 0o755); err != nil {
		return "", err
	}
	pods := fmt.Sprintf(podNetwork, nodePodCIDR, filepath.Join(c.dataDir, "addresses"))
	if err := os.WriteFile(filepath.Join(networks, "pods.conflist"), []byte(pods), 0o644); err != nil {
		return "", err
	}
	var config bytes.Buffer
	err = containerdConfig.Execute(&config, map[string]string{
		"Root": filepath.Join(c.dataDir, "containerd"), "State": containerdState, "Socket": containerdSocket,
		"Snapshotter": c.node.snapshotter, "Pause": pauseImage, "Plugins": plugins, "Networks": networks, "Runc": runc,
	})
	if err != nil {
		return "", err
	}
	path = filepath.Join(c.dataDir, "containerd.toml")
	return path, os.WriteFile(path, config.Bytes(), 0o600)
}

// chooseSnapshotter returns overlayfs if the data folder can be a layer of an overlay, otherwise
// native, which copies layers. A folder that is on an overlay itself, as in a container, cannot be
// a layer.
func (c *Cluster) chooseSnapshotter(ctx context.Context) string {
	trial := filepath.Join(c.dataDir, "overlay")
	folder := func(name string) string { return filepath.Join(trial, name) }
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.MkdirAll(folder(name), 0o755); err != nil {
			return "native"
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", folder("lower"), folder("upper"), folder("work"))
	if err := system(ctx, "mount", "-t", "overlay", "-o", layers, "overlay", folder("merged")); err != nil {
		return "native"
	}
	if err := system(ctx, "umount", folder("merged")); err != nil {
		return "native"
	}
	return "overlayfs"
}

// loadPause builds and loads the pause image, which every pod needs.
func (c *Cluster) loadPause(ctx context.Context) error {
	program := filepath.Join(c.dataDir, "pause")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, pausePackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the program pause: %w: %s", err, out)
	}
	archive := program + ".tar"
	if err := image.Program(pauseImage, program).Write(archive); err != nil {
		return err
	}
	return c.LoadImage(ctx, archive)
}

// LoadImage loads the images of an archive, in the format of `docker save` or in the OCI layout,
// into the real node. The node has no registry, so pods that use the images must not have the pull
// policy Always, which is the default for the tag latest.
func (c *Cluster) LoadImage(ctx context.Context, archive string) error {
	if !c.options.Level.RunsPods() {
		return fmt.Errorf("cannot load images into a cluster of level %s, which runs no pods", c.options.Level)
	}
	return c.ctr(ctx, "images", "import", "--local", "--snapshotter="+c.node.snapshotter, archive)
}

func (c *Cluster) ctr(ctx context.Context, args ...string) error {
	return system(ctx, c.Tool("ctr"), append([]string{"--address=" + containerdSocket, "--namespace=k8s.io"}, args...)...)
}
