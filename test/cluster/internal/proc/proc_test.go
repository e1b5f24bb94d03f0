// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package proc

import (
	"os"
	"os/exec"
	"slices"
	"testing"
)

func TestParseStatus(t *testing.T) {
	const rest = " 7 8 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 1"
	for name, test := range map[string]struct {
		given string
		want  status
		fails bool
	}{
		"plain name":                  {given: "42 (etcd) S 7" + rest, want: status{parent: 7, start: "12345"}},
		"name with blanks and parens": {given: "42 (a) b (c) R 1" + rest, want: status{parent: 1, start: "12345"}},
		"zombie":                      {given: "42 (etcd) Z 7" + rest, want: status{parent: 7, zombie: true, start: "12345"}},
		"cut short":                   {given: "42 (etcd) S 7 8", fails: true},
		"empty":                       {given: "", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStatus(test.given)
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("got %+v, %v; want %+v, failure %t", got, err, test.want, test.fails)
			}
		})
	}
}

func TestChildren(t *testing.T) {
	child := exec.Command("/bin/sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	identity := Identify(child.Process.Pid)
	children, err := Children(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(children, child.Process.Pid) || !identity.Alive() {
		t.Errorf("children %v lack %d, or it is not alive: %+v", children, child.Process.Pid, identity)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if identity.Alive() {
		t.Error("the process is alive after it was killed")
	}
}
