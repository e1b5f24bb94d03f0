// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// processes are the running programs of one cluster.
type processes struct {
	logDir, workDir string
	// record is told which processes run, each time one is added.
	record func([]processState) error
	// spawn runs functions on one thread of the system that lives until all
	// processes have ended: the system kills them when their parent dies, and
	// takes for the parent not the program but the thread that started them.
	spawn  chan func()
	failed chan error

	mu       sync.Mutex
	running  []*process
	stopping bool
}

// process is one of them.
type process struct {
	state  processState
	log    string
	cmd    *exec.Cmd
	exited chan struct{}
	// ready is what was awaited of it.
	ready condition
	// dismissed says that the process is meant to end; the lock of processes guards it.
	dismissed bool
}

func newProcesses(logDir, workDir string, record func([]processState) error) *processes {
	ps := &processes{
		logDir: logDir, workDir: workDir, record: record,
		spawn: make(chan func()), failed: make(chan error, 1),
	}
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends with the goroutine.
		for f := range ps.spawn {
			f()
		}
	}()
	return ps
}

// start starts a program whose output goes into a log of its name.
func (ps *processes) start(name, path string, args []string, env ...string) (*process, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.stopping {
		return nil, errors.New("the cluster is being stopped")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(ps.environment(), env...)
	return ps.launch(name, cmd, os.O_TRUNC)
}

// launch starts a command; the flag says what becomes of an earlier log.
func (ps *processes) launch(name string, cmd *exec.Cmd, logFlag int) (*process, error) {
	log, err := os.OpenFile(filepath.Join(ps.logDir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND|logFlag, 0o644)
	if err != nil {
		return nil, fmt.Errorf("making the log of %s: %w", name, err)
	}
	defer log.Close()
	p := &process{log: log.Name(), cmd: cmd, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Dir = ps.workDir
	p.cmd.SysProcAttr = attributes()

	started := make(chan error)
	ps.spawn <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p.state = identify(name, p.cmd.Process.Pid)
	ps.running = append(ps.running, p)
	go ps.watch(p)
	return p, ps.recordRunning()
}

// environment is the same on every machine, so that no proxy, no configuration
// in a home folder and no cluster of the user's own gets in.
func (ps *processes) environment() []string {
	return []string{"HOME=" + ps.workDir, "TMPDIR=" + ps.workDir, "PATH=" + searchPath()}
}

func (ps *processes) recordRunning() error {
	states := make([]processState, 0, len(ps.running))
	for _, p := range ps.running {
		states = append(states, p.state)
	}
	return ps.record(states)
}

// watch waits for the process to end, which only stop and dismiss may bring about.
func (ps *processes) watch(p *process) {
	_ = p.cmd.Wait() // How it ended is in its state.
	close(p.exited)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.stopping || p.dismissed {
		return
	}
	select {
	case ps.failed <- p.ended():
	default: // The first failure is the one that counts.
	}
}

// stop ends all processes with all that they started, and returns when they are
// gone. They are asked first, but their data are thrown away anyhow: there is
// no reason to wait for long.
func (ps *processes) stop() {
	ps.mu.Lock()
	if ps.stopping {
		ps.mu.Unlock()
		return
	}
	ps.stopping = true
	running := slices.Clone(ps.running)
	ps.mu.Unlock()

	for _, p := range running {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	const grace = 3 * time.Second
	patience, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, p := range running {
		select {
		case <-p.exited:
		case <-patience.Done():
		}
	}
	for _, p := range running {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
	}
	close(ps.spawn)
}

// dismiss sends one process a signal that is to end it, and returns when it is
// gone. If that takes too long, the end of all processes will be its end.
func (ps *processes) dismiss(ctx context.Context, p *process, signal syscall.Signal) error {
	ps.mu.Lock()
	p.dismissed = true
	ps.mu.Unlock()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %s the signal to end: %w", p.state.Name, err)
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s to end: %w", p.state.Name, context.Cause(ctx))
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.stopping {
		return nil
	}
	ps.running = slices.DeleteFunc(ps.running, func(other *process) bool { return other == p })
	return ps.recordRunning()
}

// restart ends the process of that name and starts it anew, as it was started
// and with the same log.
func (ps *processes) restart(ctx context.Context, name string) (*process, error) {
	old, err := ps.find(name)
	if err != nil {
		return nil, err
	}
	if err := ps.dismiss(ctx, old, syscall.SIGTERM); err != nil {
		return nil, err
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.stopping {
		return nil, errors.New("the cluster is being stopped")
	}
	cmd := exec.Command(old.cmd.Path, old.cmd.Args[1:]...)
	cmd.Env = old.cmd.Env
	p, err := ps.launch(name, cmd, 0)
	if err == nil {
		p.ready = old.ready
	}
	return p, err
}

func (ps *processes) find(name string) (*process, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.running {
		if p.state.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no process %s runs", name)
}

// await waits until the condition holds, or the process has ended, after which
// it never will.
func (p *process) await(ctx context.Context, holds condition) error {
	p.ready = holds
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.exited:
			cancel(p.ended())
		case <-ctx.Done():
		}
	}()
	err := poll(ctx, holds)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.lastWords())
	}
	return nil
}

// ended tells that the process has ended, and what it said last.
func (p *process) ended() error {
	return fmt.Errorf("%s ended unexpectedly (%s); its log is %s", p.state.Name, p.cmd.ProcessState, p.log)
}

// lastWords returns the end of the log.
func (p *process) lastWords() string {
	const lines = 12
	data, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Process is a program that runs beside a cluster.
type Process struct {
	ps *processes
	p  *process
}

// Run starts a program that ends with the cluster, at the latest. Its output
// goes into a log of that name; if it ends by itself, the cluster has failed.
func (c *Cluster) Run(name, path string, args ...string) (*Process, error) {
	p, err := c.processes.start(name, path, args)
	if err != nil {
		return nil, err
	}
	return &Process{ps: c.processes, p: p}, nil
}

// Restart ends one of the cluster's own processes, such as kubelet or traefik
// (its log has its name), and returns once it does its work again.
func (c *Cluster) Restart(ctx context.Context, name string) error {
	p, err := c.processes.restart(ctx, name)
	if err != nil {
		return fmt.Errorf("restarting %s: %w", name, err)
	}
	if p.ready == nil {
		return nil
	}
	return p.await(ctx, p.ready)
}

// Await waits until the address answers with 200.
func (p *Process) Await(ctx context.Context, url string) error {
	return p.p.await(ctx, healthy(url))
}

// PID is the number of the process.
func (p *Process) PID() int { return p.p.state.PID }

// Stop asks the program to end, and returns when it has. The cluster goes on.
func (p *Process) Stop(ctx context.Context) error { return p.ps.dismiss(ctx, p.p, syscall.SIGTERM) }

// Kill ends the program as a power failure would, with no chance to do anything
// more, and returns when it is gone. The cluster goes on.
func (p *Process) Kill(ctx context.Context) error { return p.ps.dismiss(ctx, p.p, syscall.SIGKILL) }

// Log is the file with the output of the program.
func (p *Process) Log() string { return p.p.log }
