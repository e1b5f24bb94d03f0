// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/serinus-io/serinus/test/cluster/internal/proc"
)

const namespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS

// passedOn are the signals by which people and programs end or wake a program.
var passedOn = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}

// start is what the first process has to know. It waits for it: only then does
// the kernel surely end it together with the one outside.
type start struct {
	Outside Outside `json:"outside"`
	// Files is how many files the program is given.
	Files int `json:"files"`
}

// Supported tells why namespaces cannot be made here, if they cannot.
func Supported() error {
	if os.Geteuid() != 0 {
		return errors.New("namespaces of its own take root")
	}
	try := exec.Command("true")
	try.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if err := try.Run(); err != nil {
		return fmt.Errorf("namespaces cannot be made here (in a container, they take --privileged): %w", err)
	}
	return nil
}

// Run runs this very program with the arguments in namespaces of its own, waits
// for its end and returns its exit code. The program must call Enter. It gets the
// files, and every signal that would end it.
func Run(args []string, files ...*os.File) (code int, err error) {
	if !entered {
		return 0, errors.New("this program does not call isolated.Enter")
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer writer.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), variable+"="+asFirst)
	cmd.ExtraFiles = append([]*os.File{reader}, files...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: namespaces,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // A Control-C in the terminal comes once, from here.
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passedOn...)
	defer signal.Stop(signals)

	runtime.LockOSThread() // The kernel takes the thread for the parent.
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	_ = reader.Close()
	if err != nil {
		return 0, fmt.Errorf("making namespaces (it takes root): %w", err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go passOn(signals, cmd.Process.Pid, ended)
	err = json.NewEncoder(writer).Encode(start{
		Outside: Outside{Program: proc.Identify(os.Getpid()), First: proc.Identify(cmd.Process.Pid)},
		Files:   len(files),
	})
	if err != nil {
		_ = cmd.Process.Kill()
	}
	return exitCode(cmd, errors.Join(cmd.Wait(), err))
}

// exitCode is that of the program, which is no error whatever it is.
func exitCode(cmd *exec.Cmd, err error) (int, error) {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
			return codeOf(status), nil
		}
	}
	return 0, err
}

// codeOf gives a program that a signal has ended the code that shells give it.
func codeOf(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// passOn sends the signals to the process until it has ended.
func passOn(signals <-chan os.Signal, pid int, ended <-chan struct{}) {
	for {
		select {
		case s := <-signals:
			if number, ok := s.(syscall.Signal); ok {
				_ = syscall.Kill(pid, number)
			}
		case <-ended:
			return
		}
	}
}
