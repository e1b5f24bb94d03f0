// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestOwnSourcesContainsOnlyDebian(t *testing.T) {
	etc := fstest.MapFS{
		"sources.list": {Data: []byte(`# deb http://old.example.org/debian bookworm main
deb http://deb.example.org/debian bookworm main contrib
deb [arch=amd64 signed-by=/k.gpg] http://deb.example.org/security bookworm-security main
deb-src http://deb.example.org/debian bookworm main
deb http://other.example.org/debian trixie main
`)},
		"sources.list.d/tools.list": {Data: []byte("deb http://tools.example.org/debian bookworm stable\n")},
		"sources.list.d/debian.sources": {Data: []byte(`Types: deb
# A remark: of some kind.
URIs: http://deb.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://tools.example.org/apt
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: http://off.example.org/debian
Suites: bookworm
Components: main
`)},
		"sources.list.d/debian.sources.save": {Data: []byte("deb http://saved.example.org/debian bookworm main\n")},
	}
	files, err := ownSources(etc, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got[filepath.Base(path)] = string(data)
	}
	want := map[string]string{
		"0.list": `deb http://deb.example.org/debian bookworm main contrib
deb [arch=amd64 signed-by=/k.gpg] http://deb.example.org/security bookworm-security main
`,
		"1.sources": `Types: deb
# A remark: of some kind.
URIs: http://deb.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the sources (-want +got):\n%s", diff)
	}
}

func TestOwnSourcesWithoutDebian(t *testing.T) {
	if files, err := ownSources(fstest.MapFS{}, t.TempDir()); len(files) > 0 || err != nil {
		t.Errorf("got %v, %v", files, err)
	}
}
