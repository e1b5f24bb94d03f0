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

type processes struct {
	logDir, workDir string
	// save stores the states of the running processes whenever they change.
	save func([]processState) error
	// spawn runs functions on one OS thread that lives until all processes have ended. The kernel
	// sends the parent-death signal when the thread that started a process ends, not when the
	// program does.
	spawn  chan func()
	failed chan error

	mu       sync.Mutex
	running  []*process
	stopping bool
}

type process struct {
	state  processState
	log    string
	cmd    *exec.Cmd
	exited chan struct{}
	// ready is the condition that await was last called with.
	ready condition
	// stopping is set when the process is expected to end. The mutex of processes guards it.
	stopping bool
}

func newProcesses(logDir, workDir string, save func([]processState) error) *processes {
	ps := &processes{
		logDir: logDir, workDir: workDir, save: save,
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

func (ps *processes) start(name, path string, args []string, env ...string) (*process, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.stopping {
		return nil, errors.New("the cluster is stopping")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(ps.environment(), env...)
	return ps.launch(name, cmd, os.O_TRUNC)
}

// launch starts a command. The flag is an additional flag for opening the log.
func (ps *processes) launch(name string, cmd *exec.Cmd, logFlag int) (*process, error) {
	log, err := os.OpenFile(filepath.Join(ps.logDir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND|logFlag, 0o644)
	if err != nil {
		return nil, fmt.Errorf("creating the log of %s: %w", name, err)
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
	return p, ps.saveRunning()
}

// environment returns a minimal environment, so that the user's proxy settings, configuration files
// and kubeconfig have no effect.
func (ps *processes) environment() []string {
	return []string{"HOME=" + ps.workDir, "TMPDIR=" + ps.workDir, "PATH=" + searchPath()}
}

func (ps *processes) saveRunning() error {
	states := make([]processState, 0, len(ps.running))
	for _, p := range ps.running {
		states = append(states, p.state)
	}
	return ps.save(states)
}

// watch waits for the process to end and reports a failure unless stop or end was called.
func (ps *processes) watch(p *process) {
	_ = p.cmd.Wait() // The exit status is in cmd.ProcessState.
	close(p.exited)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.stopping || p.stopping {
		return
	}
	select {
	case ps.failed <- p.unexpectedEnd():
	default: // Only the first failure is reported.
	}
}

// stop terminates all processes and their process groups and returns when they have ended. The
// grace period is short because their data are discarded anyway.
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
	graceCtx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, p := range running {
		select {
		case <-p.exited:
		case <-graceCtx.Done():
		}
	}
	for _, p := range running {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
	}
	close(ps.spawn)
}

// end sends one process a signal and returns when it has ended. If it does not end before the
// context does, stop kills it later.
func (ps *processes) end(ctx context.Context, p *process, signal syscall.Signal) error {
	ps.mu.Lock()
	p.stopping = true
	ps.mu.Unlock()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending a signal to %s: %w", p.state.Name, err)
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
	return ps.saveRunning()
}

// restart ends the named process and starts it again with the same arguments. It appends to the
// log.
func (ps *processes) restart(ctx context.Context, name string) (*process, error) {
	old, err := ps.find(name)
	if err != nil {
		return nil, err
	}
	if err := ps.end(ctx, old, syscall.SIGTERM); err != nil {
		return nil, err
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.stopping {
		return nil, errors.New("the cluster is stopping")
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
	return nil, fmt.Errorf("no process %s is running", name)
}

// await waits until the condition holds. It fails when the process ends.
func (p *process) await(ctx context.Context, holds condition) error {
	p.ready = holds
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.exited:
			cancel(p.unexpectedEnd())
		case <-ctx.Done():
		}
	}()
	err := poll(ctx, holds)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.logTail())
	}
	return nil
}

func (p *process) unexpectedEnd() error {
	return fmt.Errorf("%s ended unexpectedly (%s); its log is %s", p.state.Name, p.cmd.ProcessState, p.log)
}

func (p *process) logTail() string {
	const lines = 12
	data, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Process is an additional program of a cluster.
type Process struct {
	ps *processes
	p  *process
}

// Run starts a program that ends with the cluster at the latest. Its output goes to the log
// <name>.log. If the program ends by itself, Failed reports it.
func (c *Cluster) Run(name, path string, args ...string) (*Process, error) {
	p, err := c.processes.start(name, path, args)
	if err != nil {
		return nil, err
	}
	return &Process{ps: c.processes, p: p}, nil
}

// Restart restarts one of the cluster's processes, such as kubelet or traefik, and returns once it
// is ready again. The name is that of its log.
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

// Await waits until the URL answers with status 200.
func (p *Process) Await(ctx context.Context, url string) error {
	return p.p.await(ctx, healthy(url))
}

// PID returns the process ID.
func (p *Process) PID() int { return p.p.state.PID }

// Stop terminates the program gracefully and returns when it has ended. The cluster keeps running.
func (p *Process) Stop(ctx context.Context) error { return p.ps.end(ctx, p.p, syscall.SIGTERM) }

// Kill kills the program with SIGKILL and returns when it has ended. The cluster keeps running.
func (p *Process) Kill(ctx context.Context) error { return p.ps.end(ctx, p.p, syscall.SIGKILL) }

// Log returns the path of the program's log.
func (p *Process) Log() string { return p.p.log }
