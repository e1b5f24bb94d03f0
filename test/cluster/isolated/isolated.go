// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/serinus-io/serinus/test/cluster/internal/proc"
)

// variable tells a program what Run or the first process has started it for.
const variable = "SERINUS_ISOLATED"

// asFirst is its value for the first process of the namespaces. For the program
// it is what is outside.
const asFirst = "first"

var (
	// entered says that Enter has been called: a program that does not would run
	// itself for ever.
	entered bool
	// outside is what stays outside of the namespaces of this program.
	outside *Outside
)

// Outside names processes by the numbers that they have outside.
type Outside struct {
	// Program is the one that called Run. All ends with it.
	Program proc.Identity `json:"program"`
	// First is the first process of the namespaces. Once it is gone, so is every
	// other process in them.
	First proc.Identity `json:"first"`
}

// Enter must be called before the program does anything else. In the program
// that a user starts it does nothing.
func Enter() {
	entered = true
	value, found := os.LookupEnv(variable)
	if !found {
		return
	}
	if value == asFirst {
		os.Exit(first())
	}
	_ = os.Unsetenv(variable) // Programs that this one starts are none of this.
	outside = &Outside{}
	if err := json.Unmarshal([]byte(value), outside); err != nil {
		fail(fmt.Errorf("%s: %w", variable, err))
	}
}

// Inside reports whether the program runs in namespaces of its own.
func Inside() bool { return outside != nil }

// TheOutside returns what is outside of the namespaces that the program runs in.
func TheOutside() Outside { return *outside }

// Main runs the program in namespaces of its own, with the same arguments, and
// exits with its code.
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
