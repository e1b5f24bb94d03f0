// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serinus-io/serinus/test/cluster/internal/proc"
)

const programName = "SERINUS_TEST_ISOLATED_PROGRAM"

var programs = map[string]func() (int, error){
	"look":    look,
	"mount":   mountOver,
	"read":    readFile,
	"orphans": leaveOrphans,
	"wait":    wait,
	"die":     die,
}

func TestMain(m *testing.M) {
	program, found := programs[os.Getenv(programName)]
	if !found {
		Enter()
		os.Exit(m.Run())
	}
	Main(func() int {
		code, err := program()
		if err != nil {
			fmt.Println(err)
			return 1
		}
		return code
	})
}

func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), programName+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func look() (int, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return 0, err
	}
	for _, i := range interfaces {
		fmt.Printf("device %s up %t\n", i.Name, i.Flags&net.FlagUp != 0)
	}
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	fmt.Printf("processes %d\narguments %v\nvariable %q\n", len(entries), os.Args[1:], os.Getenv(variable))
	return 0, nil
}

func TestMachineIsNotVisibleInside(t *testing.T) {
	want := "device lo up true\nprocesses 2\narguments [one two]\nvariable \"\"\n"
	if diff := cmp.Diff(want, output(t, command(t, "look", "one", "two"))); diff != "" {
		t.Errorf("inside (-want +got):\n%s", diff)
	}
}

func die() (int, error) {
	signal.Reset(syscall.SIGTERM)
	return 0, errors.Join(syscall.Kill(os.Getpid(), syscall.SIGKILL), errors.New("still here"))
}

func TestExitCodeIsThatOfTheProgram(t *testing.T) {
	for name, want := range map[string]int{"look": 0, "wait": 7, "die": 128 + int(syscall.SIGKILL)} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, name)
			cmd.Stdin = strings.NewReader("end\n")
			err := cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != want {
				t.Errorf("got %d (%v), want %d", got, err, want)
			}
		})
	}
}

func mountOver() (int, error) {
	if err := syscall.Mount("tmpfs", os.Args[1], "tmpfs", 0, ""); err != nil {
		return 0, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	fmt.Printf("mounted %t\n", bytes.Contains(mounts, []byte(os.Args[1])))
	return 0, err
}

func TestMountsStayInside(t *testing.T) {
	folder := t.TempDir()
	if got := output(t, command(t, "mount", folder)); got != "mounted true\n" {
		t.Fatalf("got %q", got)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(mounts, []byte(folder)) {
		t.Error("the mount is visible outside")
	}
}

func readFile() (int, error) {
	_, err := io.Copy(os.Stdout, File(0))
	return 0, err
}

func TestFilesArePassedOn(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	stdout := os.Stdout
	os.Stdout = writer
	t.Setenv(programName, "read")
	code, err := Run(nil, file)
	os.Stdout = stdout
	writer.Close()
	if code != 0 || err != nil {
		t.Fatalf("code %d, %v", code, err)
	}
	if got, err := io.ReadAll(reader); string(got) != "content" {
		t.Errorf("got %q, %v", got, err)
	}
}

func leaveOrphans() (int, error) {
	if err := exec.Command("sh", "-c", "sleep 600 & setsid sleep 600 & setsid sh -c 'sleep 600; true' &").Run(); err != nil {
		return 0, err
	}
	before, err := proc.Children(1)
	if err != nil {
		return 0, err
	}
	err = KillOrphans()
	entries, globErr := filepath.Glob("/proc/[0-9]*")
	fmt.Printf("some %t, left %d\n", len(before) > 1, len(entries)-2)
	return 0, errors.Join(err, globErr)
}

func TestKillOrphans(t *testing.T) {
	if got := output(t, command(t, "orphans")); got != "some true, left 0\n" {
		t.Errorf("got %q", got)
	}
}

// wait starts an orphan, prints the PID of the init process on the host, and waits for signals and
// lines.
func wait() (int, error) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if err := exec.Command("sh", "-c", "setsid sleep 600 &").Run(); err != nil {
		return 0, err
	}
	fmt.Println(Host().Init.PID)
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if lines.Text() == "end" {
				os.Exit(7)
			}
		}
	}()
	for s := range signals {
		fmt.Println(s)
	}
	return 0, nil
}

type waiting struct {
	cmd   *exec.Cmd
	out   *bufio.Scanner
	in    io.WriteCloser
	inner []proc.Identity
}

func startWaiting(t *testing.T) waiting {
	t.Helper()
	w := waiting{cmd: command(t, "wait")}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
	})
	w.out = bufio.NewScanner(out)
	var first int
	if _, err := fmt.Sscan(w.line(t), &first); err != nil {
		t.Fatal(err)
	}
	for pids := []int{first}; len(pids) > 0; {
		w.inner = append(w.inner, proc.Identify(pids[0]))
		children, err := proc.Children(pids[0])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids[1:], children...)
	}
	if len(w.inner) != 3 {
		t.Fatalf("got %v, want the init process, the program and the orphan", w.inner)
	}
	return w
}

func (w waiting) line(t *testing.T) string {
	t.Helper()
	if !w.out.Scan() {
		t.Fatalf("the program prints nothing more: %v", w.out.Err())
	}
	return w.out.Text()
}

func (w waiting) left() []proc.Identity {
	return slices.DeleteFunc(slices.Clone(w.inner), func(i proc.Identity) bool { return !i.Alive() })
}

func TestSignalsAreForwardedOnce(t *testing.T) {
	w := startWaiting(t)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if err := w.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if got := w.line(t); got != s.String() {
			t.Errorf("got %s, want %s", got, s)
		}
	}
}

func TestProcessesEndWithTheProgram(t *testing.T) {
	w := startWaiting(t)
	if _, err := io.WriteString(w.in, "end\n"); err != nil {
		t.Fatal(err)
	}
	_ = w.cmd.Wait()
	if left := w.left(); len(left) > 0 {
		t.Errorf("%v are still running", left)
	}
}

func TestProcessesEndWhenTheOuterProcessIsKilled(t *testing.T) {
	w := startWaiting(t)
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for len(w.left()) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%v are still running", w.left())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRunRequiresEnter(t *testing.T) {
	entered = false
	defer func() { entered = true }()
	if _, err := Run(nil); err == nil || !strings.Contains(err.Error(), "isolated.Enter") {
		t.Errorf("got %v, want an error", err)
	}
}
