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

var forwardedSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}

// start contains the parameters of the init process. The init process waits for them, because only
// then is its parent-death signal certain to be set.
type start struct {
	Host HostProcesses `json:"host"`
	// Files is the number of files to pass on to the program.
	Files int `json:"files"`
}

// Supported returns an error with the reason if namespaces cannot be created here.
func Supported() error {
	if os.Geteuid() != 0 {
		return errors.New("creating namespaces needs root")
	}
	try := exec.Command("true")
	try.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if err := try.Run(); err != nil {
		return fmt.Errorf("cannot create namespaces (in a container, this needs --privileged): %w", err)
	}
	return nil
}

// Run runs this program again in separate namespaces with the arguments and the files, waits for
// its end and returns its exit code. The program must call Enter. Run forwards signals that would
// end it.
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
	cmd.Env = append(os.Environ(), variable+"="+asInit)
	cmd.ExtraFiles = append([]*os.File{reader}, files...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: namespaces,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // Otherwise a Control-C in the terminal would arrive twice.
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwardedSignals...)
	defer signal.Stop(signals)

	runtime.LockOSThread() // The parent-death signal is sent when this thread ends.
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	_ = reader.Close()
	if err != nil {
		return 0, fmt.Errorf("creating namespaces (needs root): %w", err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go forwardSignals(signals, cmd.Process.Pid, ended)
	err = json.NewEncoder(writer).Encode(start{
		Host:  HostProcesses{Program: proc.Identify(os.Getpid()), Init: proc.Identify(cmd.Process.Pid)},
		Files: len(files),
	})
	if err != nil {
		_ = cmd.Process.Kill()
	}
	return exitCode(cmd, errors.Join(cmd.Wait(), err))
}

// exitCode returns the exit code of the program. A non-zero exit code is not an error.
func exitCode(cmd *exec.Cmd, err error) (int, error) {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
			return codeOf(status), nil
		}
	}
	return 0, err
}

// codeOf returns the exit code that a shell would report, which is 128 + n after signal n.
func codeOf(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func forwardSignals(signals <-chan os.Signal, pid int, ended <-chan struct{}) {
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
