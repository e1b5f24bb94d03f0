// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package node tests the real node of the local cluster from outside of its namespaces, with the
// program that starts and stops it.
package node

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/serinus-io/serinus/test/cluster/local"
)

const (
	repoRoot = "../../.."
	timeout  = 90 * time.Second
)

func TestPodsServe(t *testing.T) {
	c := startCluster(t, local.Node)
	c.apply(t, "testdata/server.yaml")
	c.kubectl(t, "wait", "--for=condition=Available", "deployment/server", "--timeout=60s")
	c.kubectl(t, "wait", "--for=condition=Complete", "job/client", "--timeout=60s")
	gateway := c.gateway(t)
	eventually(t, "a response through the gateway", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+gateway+"/", http.NoBody)
		if err != nil {
			return err
		}
		request.Host = "server.example.com"
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if pod := response.Header.Get("X-Served-By"); response.StatusCode != http.StatusOK || !strings.HasPrefix(pod, "server-") {
			return fmt.Errorf("%s from %q", response.Status, pod)
		}
		return nil
	})
	eventually(t, "metrics", func(context.Context) error {
		out, err := c.command("kubectl", "top", "pods").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	c.down(t)
	c.expectNothingLeft(t)
}

func TestNothingIsLeftBehind(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, c *cluster){
		"interrupted": func(t *testing.T, c *cluster) { c.signal(t, syscall.SIGINT) },
		"killed, then cleaned up": func(t *testing.T, c *cluster) {
			c.signal(t, syscall.SIGKILL)
			c.down(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := startCluster(t, local.Node)
			c.apply(t, "testdata/server.yaml")
			c.kubectl(t, "wait", "--for=condition=Available", "deployment/server", "--timeout=60s")
			end(t, c)
			c.expectNothingLeft(t)
		})
	}
}

type cluster struct {
	// dir is the cluster's directory. The cluster creates its data directory in temp.
	dir, temp string
	devices   []string
}

func startCluster(t *testing.T, level local.Level, flags ...string) *cluster {
	t.Helper()
	c := &cluster{dir: t.TempDir(), temp: t.TempDir(), devices: devices(t)}
	archive, err := filepath.Abs(filepath.Join(repoRoot, "bin", "images", "testserver.tar"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.command("cluster", "down", "--dir="+c.dir).Run() })
	args := append([]string{"up", "--level=" + string(level), "--detach", "--dir=" + c.dir, "--image=" + archive}, flags...)
	if out, err := c.command("cluster", args...).CombinedOutput(); err != nil {
		t.Fatalf("starting the cluster: %v\n%s", err, out)
	}
	return c
}

func (c *cluster) command(name string, args ...string) *exec.Cmd {
	path := filepath.Join("bin", "tools", name)
	if name == "cluster" {
		path = filepath.Join("bin", name)
	}
	cmd := exec.Command("./"+path, args...)
	cmd.Dir = repoRoot
	cmd.Env = append(os.Environ(), "TMPDIR="+c.temp, "KUBECONFIG="+filepath.Join(c.dir, "kubeconfig"))
	return cmd
}

func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	cmd := c.command("kubectl", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

func (c *cluster) gateway(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + c.kubectl(t, "get", "gateway", "-n=kserve", "kserve-ingress-gateway", "-o=jsonpath={.spec.listeners[0].port}")
}

func (c *cluster) apply(t *testing.T, file string) {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	c.kubectl(t, "apply", "--server-side", "-f", path)
}

func (c *cluster) down(t *testing.T) {
	t.Helper()
	if out, err := c.command("cluster", "down", "--dir="+c.dir).CombinedOutput(); err != nil {
		t.Fatalf("stopping the cluster: %v\n%s", err, out)
	}
}

func (c *cluster) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	pid := c.supervisor(t)
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the supervisor", func(context.Context) error {
		if syscall.Kill(pid, 0) == nil && !isZombie(pid) {
			return fmt.Errorf("process %d still exists", pid)
		}
		return nil
	})
}

// supervisor returns the parent of the cluster's processes. Its own parent is not among them.
func (c *cluster) supervisor(t *testing.T) int {
	t.Helper()
	all := processes(t, "--dir="+c.dir)
	for _, pid := range all {
		if !slices.Contains(all, parentOf(pid)) {
			return pid
		}
	}
	t.Fatalf("the cluster in %s has no process", c.dir)
	return 0
}

// expectNothingLeft checks that no process, mount, control group, network device or file of the
// cluster is left. After a kill their removal can take a moment.
func (c *cluster) expectNothingLeft(t *testing.T) {
	t.Helper()
	eventually(t, "nothing to be left", func(context.Context) error {
		for what, left := range map[string][]string{
			"processes":       words(processes(t, c.temp, c.dir)),
			"mounts":          lines(t, "/proc/self/mountinfo", c.temp),
			"control groups":  glob(t, "/sys/fs/cgroup/serinus-cluster-*", "/sys/fs/cgroup/*/serinus-cluster-*"),
			"temporary files": glob(t, filepath.Join(c.temp, "*")),
			"devices":         slices.DeleteFunc(devices(t), func(name string) bool { return slices.Contains(c.devices, name) }),
		} {
			if len(left) > 0 {
				return fmt.Errorf("%s: %v", what, left)
			}
		}
		return nil
	})
}

func eventually(t *testing.T, what string, holds func(ctx context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		last = holds(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("waited for %s: %v", what, last)
	}
}

func devices(t *testing.T) []string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range all {
		names = append(names, all[i].Name)
	}
	return names
}

func processes(t *testing.T, words ...string) []int {
	t.Helper()
	var found []int
	for _, path := range glob(t, "/proc/[0-9]*/cmdline") {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // The process has exited.
		}
		if slices.ContainsFunc(words, func(word string) bool { return bytes.Contains(line, []byte(word)) }) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
				found = append(found, pid)
			}
		}
	}
	return found
}

// statOf returns the fields of /proc/PID/stat after the name: state, parent and so on.
func statOf(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

func parentOf(pid int) int {
	if stat := statOf(pid); len(stat) > 1 {
		parent, _ := strconv.Atoi(stat[1])
		return parent
	}
	return 0
}

func isZombie(pid int) bool {
	stat := statOf(pid)
	return len(stat) > 0 && stat[0] == "Z"
}

func lines(t *testing.T, path, word string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Split(string(data), "\n"), func(line string) bool { return !strings.Contains(line, word) })
}

func glob(t *testing.T, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func words(numbers []int) []string {
	var all []string
	for _, n := range numbers {
		all = append(all, strconv.Itoa(n))
	}
	return all
}
