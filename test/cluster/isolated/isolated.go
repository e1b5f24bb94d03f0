// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/serinus-io/serinus/test/cluster/internal/proc"
)

// variable is the environment variable by which Run and the init process tell a program its role.
const variable = "SERINUS_ISOLATED"

// asInit is the value of the variable for the init process. For the program, the value is a
// HostProcesses in JSON.
const asInit = "init"

var (
	// entered is set by Enter. A program that does not call Enter would start itself in an endless
	// loop.
	entered bool
	// host is nil outside of the namespaces.
	host *HostProcesses
)

// HostProcesses are processes of the namespaces by their PIDs on the host.
type HostProcesses struct {
	// Program is the process that called Run. The namespaces end with it.
	Program proc.Identity `json:"program"`
	// Init is the init process of the namespaces. All other processes in them end with it.
	Init proc.Identity `json:"init"`
}

// Enter must be called before the program does anything else. It does nothing in the program that a
// user starts.
func Enter() {
	entered = true
	value, found := os.LookupEnv(variable)
	if !found {
		return
	}
	if value == asInit {
		os.Exit(initMain())
	}
	_ = os.Unsetenv(variable) // Child processes must not inherit it.
	host = &HostProcesses{}
	if err := json.Unmarshal([]byte(value), host); err != nil {
		fail(fmt.Errorf("%s: %w", variable, err))
	}
}

// Inside reports whether the program runs in separate namespaces.
func Inside() bool { return host != nil }

// Host returns the processes of the namespaces as the host sees them. It must be called inside.
func Host() HostProcesses { return *host }

// Main runs the program in separate namespaces with the same arguments and exits with its exit
// code.
func Main(program func() int) {
	Enter()
	if Inside() {
		os.Exit(program())
	}
	code, err := Run(os.Args[1:])
	if err != nil {
		fail(err)
	}
	os.Exit(code)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "isolated:", err)
	os.Exit(1)
}
