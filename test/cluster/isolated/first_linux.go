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

// firstFile is the number of the first file that a program is given beside the
// standard ones.
const firstFile = 3

// first is the first process of the namespaces. It returns the exit code of the
// program, and when it ends, so does all that is left.
func first() int {
	code, err := runFirst()
	if err != nil {
		fmt.Fprintln(os.Stderr, "isolated:", err)
		return 1
	}
	return code
}

func runFirst() (int, error) {
	if os.Getpid() != 1 {
		return 0, fmt.Errorf("%s=%s is for the first process of a namespace only", variable, asFirst)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passedOn...) // What comes early is not lost.
	begin, err := readStart()
	if err != nil {
		return 0, err
	}
	if err := furnish(); err != nil {
		return 0, err
	}
	program, err := startProgram(begin)
	if err != nil {
		return 0, err
	}
	go passOn(signals, program, nil)
	return reap(program)
}

func readStart() (start, error) {
	var s start
	syscall.CloseOnExec(firstFile)
	pipe := os.NewFile(firstFile, "start")
	if pipe == nil {
		return s, errors.New("it is not known what to start")
	}
	defer pipe.Close()
	if err := json.NewDecoder(pipe).Decode(&s); err != nil {
		return s, fmt.Errorf("learning what to start: %w", err)
	}
	return s, nil
}

// furnish gives the namespaces what every program expects.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts from the machine: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("switching the loopback interface on: %w", err)
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

// startProgram starts this program once more, as what it is for the user, and
// returns its number.
func startProgram(begin start) (pid int, err error) {
	outside, err := json.Marshal(begin.Outside)
	if err != nil {
		return 0, err
	}
	if err := os.Setenv(variable, string(outside)); err != nil {
		return 0, err
	}
	files := []uintptr{0, 1, 2}
	for i := range begin.Files {
		inherited := firstFile + 1 + i
		syscall.CloseOnExec(inherited)
		files = append(files, uintptr(inherited))
	}
	pid, err = syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: files})
	if err != nil {
		return 0, fmt.Errorf("starting the program: %w", err)
	}
	return pid, nil
}

// reap collects every process that has ended, orphans included, until the
// program has.
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

// File returns one of the files that Run was given, by its place.
func File(place int) *os.File {
	number := firstFile + place
	syscall.CloseOnExec(number)
	return os.NewFile(uintptr(number), fmt.Sprintf("inherited-%d", place))
}
