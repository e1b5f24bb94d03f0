// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package node tests the real node of the local cluster as a user has it: with
// the program that starts and ends it, from outside of its namespaces.
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
	top      = "../../.."
	patience = 90 * time.Second
)

// The node runs pods, which reach each other through Services and DNS and can be reached through the gateway.
func TestPodsServe(t *testing.T) {
	c := up(t, local.Node)
	c.apply(t, "testdata/server.yaml")
	c.kubectl(t, "wait", "--for=condition=Available", "deployment/server", "--timeout=60s")
	c.kubectl(t, "wait", "--for=condition=Complete", "job/client", "--timeout=60s")
	gateway := c.gateway(t)
	eventually(t, "an answer through the gateway", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+gateway+"/", http.NoBody)
		if err != nil {
			return err
		}
		request.Host = "server.example.com"
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if pod := answer.Header.Get("X-Served-By"); answer.StatusCode != http.StatusOK || !strings.HasPrefix(pod, "server-") {
			return fmt.Errorf("%s from %q", answer.Status, pod)
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
	c.leavesNothing(t)
}

// However the cluster ends, nothing of it is left.
func TestEndsWithoutTrace(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, c *cluster){
		"interrupted": func(t *testing.T, c *cluster) { c.signal(t, syscall.SIGINT) },
		"killed, and cleaned up behind": func(t *testing.T, c *cluster) {
			c.signal(t, syscall.SIGKILL)
			c.down(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := up(t, local.Node)
			c.apply(t, "testdata/server.yaml")
			c.kubectl(t, "wait", "--for=condition=Available", "deployment/server", "--timeout=60s")
			end(t, c)
			c.leavesNothing(t)
		})
	}
}

// cluster is one that runs in the background.
type cluster struct {
	// dir is its own, and temp the one where it makes its data folder.
	dir, temp string
	// devices are the network devices that were there before it.
	devices []string
}

func up(t *testing.T, level local.Level, flags ...string) *cluster {
	t.Helper()
	c := &cluster{dir: t.TempDir(), temp: t.TempDir(), devices: devices(t)}
	archive, err := filepath.Abs(filepath.Join(top, "bin", "images", "testserver.tar"))
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

// command prepares one of the repository's programs.
func (c *cluster) command(name string, args ...string) *exec.Cmd {
	path := filepath.Join("bin", "tools", name)
	if name == "cluster" {
		path = filepath.Join("bin", name)
	}
	cmd := exec.Command("./"+path, args...)
	cmd.Dir = top
	cmd.Env = append(os.Environ(), "TMPDIR="+c.temp, "KUBECONFIG="+filepath.Join(c.dir, "kubeconfig"))
	return cmd
}

func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	cmd := c.command("kubectl", args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, complaints.String())
	}
	return string(out)
}

// gateway is where the gateway takes requests.
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
		t.Fatalf("ending the cluster: %v\n%s", err, out)
	}
}

// signal sends the process that stays behind a signal, and waits until it is gone.
func (c *cluster) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	pid := c.supervisor(t)
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the supervisor", func(context.Context) error {
		if syscall.Kill(pid, 0) == nil && !isZombie(pid) {
			return fmt.Errorf("process %d is still there", pid)
		}
		return nil
	})
}

// supervisor is the process that all others of the cluster end with: the one of that command line whose parent is not.
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

// leavesNothing holds that no process, mount, control group, network device or file of the cluster is left. What it was
// made of may take a moment to go when the cluster was killed.
func (c *cluster) leavesNothing(t *testing.T) {
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
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
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

// processes lists those whose command line has one of the words.
func processes(t *testing.T, words ...string) []int {
	t.Helper()
	var found []int
	for _, path := range glob(t, "/proc/[0-9]*/cmdline") {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // It has just ended.
		}
		if slices.ContainsFunc(words, func(word string) bool { return bytes.Contains(line, []byte(word)) }) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
				found = append(found, pid)
			}
		}
	}
	return found
}

// statOf is what /proc tells of a process after its name: its state, its parent and more.
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
