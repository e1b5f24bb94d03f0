// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// firstExtraFile is the first file descriptor after the standard ones.
const firstExtraFile = 3

// initMain is the main function of the namespaces' init process. It returns the exit code of the
// program. When the init process ends, the kernel kills all other processes in the namespaces.
func initMain() int {
	code, err := runInit()
	if err != nil {
		fmt.Fprintln(os.Stderr, "isolated:", err)
		return 1
	}
	return code
}

func runInit() (int, error) {
	if os.Getpid() != 1 {
		return 0, fmt.Errorf("%s=%s is only for the init process of a PID namespace", variable, asInit)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwardedSignals...) // Early signals must not be lost.
	begin, err := readStart()
	if err != nil {
		return 0, err
	}
	if err := setUpNamespaces(); err != nil {
		return 0, err
	}
	program, err := startProgram(begin)
	if err != nil {
		return 0, err
	}
	go forwardSignals(signals, program, nil)
	return reap(program)
}

func readStart() (start, error) {
	var s start
	syscall.CloseOnExec(firstExtraFile)
	pipe := os.NewFile(firstExtraFile, "start")
	if pipe == nil {
		return s, errors.New("the file with the start parameters is missing")
	}
	defer pipe.Close()
	if err := json.NewDecoder(pipe).Decode(&s); err != nil {
		return s, fmt.Errorf("reading the start parameters: %w", err)
	}
	return s, nil
}

func setUpNamespaces() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("enabling the loopback interface: %w", err)
	}
	return nil
}

func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	device, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	device.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, device)
}

func startProgram(begin start) (pid int, err error) {
	host, err := json.Marshal(begin.Host)
	if err != nil {
		return 0, err
	}
	if err := os.Setenv(variable, string(host)); err != nil {
		return 0, err
	}
	files := []uintptr{0, 1, 2}
	for i := range begin.Files {
		inherited := firstExtraFile + 1 + i
		syscall.CloseOnExec(inherited)
		files = append(files, uintptr(inherited))
	}
	pid, err = syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: files})
	if err != nil {
		return 0, fmt.Errorf("starting the program: %w", err)
	}
	return pid, nil
}

// reap waits for child processes, including orphans, until the program has ended. It returns the
// program's exit code.
func reap(program int) (code int, err error) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("waiting for the program: %w", err)
		case pid == program:
			return codeOf(status), nil
		}
	}
}

// File returns the file with the index in the arguments of Run.
func File(index int) *os.File {
	descriptor := firstExtraFile + index
	syscall.CloseOnExec(descriptor)
	return os.NewFile(uintptr(descriptor), fmt.Sprintf("inherited-%d", index))
}
