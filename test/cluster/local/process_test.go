// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/serinus-io/serinus/test/cluster/internal/proc"
)

const helperDir = "SERINUS_TEST_HELPER_DIR"

func newTestCluster(t *testing.T, dir string) *Cluster {
	t.Helper()
	c, err := newCluster(Options{Level: ControlPlane, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func sleeper(t *testing.T, c *Cluster, name string) *process {
	t.Helper()
	p, err := c.processes.start(name, "/bin/sleep", []string{"600"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := poll(ctx, func(context.Context) error {
		if holds() {
			return nil
		}
		return errors.New("not yet: " + what)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestStopEndsAllProcesses(t *testing.T) {
	c := newTestCluster(t, t.TempDir())
	one, two := sleeper(t, c, "one"), sleeper(t, c, "two")
	if !one.state.Alive() || !two.state.Alive() {
		t.Fatal("the processes are not running")
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if one.state.Alive() || two.state.Alive() {
		t.Error("a process is still running")
	}
	if _, err := os.Stat(c.dataDir); !os.IsNotExist(err) {
		t.Errorf("the data were not removed: %v", err)
	}
	select {
	case err := <-c.Failed():
		t.Errorf("Stop was reported as a failure: %v", err)
	default:
	}
}

func TestEndOfAProcessIsReported(t *testing.T) {
	c := newTestCluster(t, t.TempDir())
	if _, err := c.processes.start("brief", "/bin/sh", []string{"-c", "exit 3"}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.Failed():
		if want := "brief ended unexpectedly (exit status 3)"; !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to say %q", err, want)
		}
	case <-time.After(20 * time.Second):
		t.Error("the end of the process was not reported")
	}
}

func TestAwaitFailsWhenTheProcessEnds(t *testing.T) {
	c := newTestCluster(t, t.TempDir())
	p, err := c.processes.start("brief", "/bin/sh", []string{"-c", "echo the port is taken; exit 1"})
	if err != nil {
		t.Fatal(err)
	}
	err = p.await(t.Context(), func(context.Context) error { return errors.New("not ready") })
	if err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("got %v, want the end of the log", err)
	}
}

func TestFolderIsLockedByOneCluster(t *testing.T) {
	dir := t.TempDir()
	c := newTestCluster(t, dir)
	if _, err := newCluster(Options{Level: ControlPlane, Dir: dir}); err == nil || !strings.Contains(err.Error(), "another cluster is using the folder") {
		t.Errorf("got %v, want an error that the folder is in use", err)
	}
	if running, err := Running(dir); !running || err != nil {
		t.Errorf("the second cluster has affected the first one: running %t, %v", running, err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	again := newTestCluster(t, dir)
	if err := again.Stop(); err != nil {
		t.Error(err)
	}
}

// TestHelperThatIsKilled is a helper program of the tests below.
func TestHelperThatIsKilled(t *testing.T) {
	dir := os.Getenv(helperDir)
	if dir == "" {
		t.Skip("used by other tests")
	}
	c := newTestCluster(t, dir)
	fmt.Println("PID", sleeper(t, c, "victim").state.PID)
	select {} // Until it is killed.
}

// killedHelper runs TestHelperThatIsKilled, kills it, and returns a process that it has started.
func killedHelper(t *testing.T, dir string) processState {
	t.Helper()
	helper := exec.Command(os.Args[0], "-test.run=^TestHelperThatIsKilled$")
	helper.Env = append(os.Environ(), helperDir+"="+dir)
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "PID %d", &pid); err == nil {
			break
		}
	}
	victim := identify("victim", pid)
	if !victim.Alive() {
		t.Fatalf("process %d does not run", pid)
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait()
	return victim
}

func TestProcessesDieWithAKilledProgram(t *testing.T) {
	dir := t.TempDir()
	victim := killedHelper(t, dir)
	eventually(t, "the process ends", func() bool { return !victim.Alive() })
	if _, err := Down(dir); err != nil {
		t.Error(err)
	}
}

func TestRemoveLeftoversOfAKilledProgram(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := t.TempDir()
	killedHelper(t, dir)
	left, err := readState(dir)
	if err != nil {
		t.Fatal(err)
	}
	running := newTestCluster(t, t.TempDir())
	removeLeftovers()
	if _, err := os.Stat(left.DataDir); !os.IsNotExist(err) {
		t.Errorf("the data of the killed program were not removed: %v", err)
	}
	if _, err := os.Stat(running.dataDir); err != nil {
		t.Errorf("the data of a running cluster were removed: %v", err)
	}
}

func TestDownCleansUpAfterAKilledProgram(t *testing.T) {
	dir := t.TempDir()
	killedHelper(t, dir)
	left, err := readState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if running, err := Running(dir); running || err != nil {
		t.Errorf("running %t, %v; want false", running, err)
	}
	if found, err := Down(dir); !found || err != nil {
		t.Errorf("found %t, %v; want true", found, err)
	}
	for _, path := range []string{left.DataDir, filepath.Join(dir, stateFile), filepath.Join(dir, "pki")} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s was not removed: %v", path, err)
		}
	}
	if found, err := Down(dir); found || err != nil {
		t.Errorf("found %t, %v; want false", found, err)
	}
}

func TestTerminateChecksTheStartTime(t *testing.T) {
	other := exec.Command("/bin/sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	}()
	reused := processState{Name: "etcd", Identity: proc.Identity{PID: other.Process.Pid, Start: "1"}}
	reused.terminate(time.Second)
	if !identify("sleep", other.Process.Pid).Alive() {
		t.Error("another process with the same PID was terminated")
	}
}

func TestRestartAppendsToTheLog(t *testing.T) {
	c := newTestCluster(t, t.TempDir())
	p, err := c.processes.start("speaker", "/bin/sh", []string{"-c", "echo I am here; exec sleep 600"})
	if err != nil {
		t.Fatal(err)
	}
	logged := func(times int) condition {
		return func(context.Context) error {
			if got := strings.Count(p.logTail(), "I am here"); got != times {
				return fmt.Errorf("logged %d times, want %d", got, times)
			}
			return nil
		}
	}
	if err := p.await(t.Context(), logged(1)); err != nil {
		t.Fatal(err)
	}
	p.ready = logged(2) // Restart waits for it.
	if err := c.Restart(t.Context(), "speaker"); err != nil {
		t.Fatal(err)
	}
	again, err := c.processes.find("speaker")
	if err != nil {
		t.Fatal(err)
	}
	if p.state.Alive() || !again.state.Alive() || again.state.PID == p.state.PID {
		t.Errorf("%+v has not replaced %+v", again.state, p.state)
	}
	if err := c.Restart(t.Context(), "unknown"); err == nil {
		t.Error("an unknown process was restarted")
	}
	select {
	case err := <-c.Failed():
		t.Errorf("a restart was reported as a failure: %v", err)
	default:
	}
}
