// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serinus-io/serinus/internal/storage"
)

func TestArguments(t *testing.T) {
	var output bytes.Buffer
	o, err := parse([]string{"-workers=2", "gs://bucket/model", "/mnt/models"}, &output)
	if err != nil || o.uri != "gs://bucket/model" || o.folder != "/mnt/models" || o.fetch.Workers != 2 {
		t.Errorf("got %+v, %v", o, err)
	}
	if _, err := parse([]string{"gs://bucket/model"}, &output); err == nil || !strings.Contains(output.String(), "Usage:") {
		t.Errorf("got error %v and output %q", err, output.String())
	}
}

func TestRun(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "models")
	if err := os.WriteFile(filepath.Join(from, "model.joblib"), []byte("the model"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), options{uri: "file://" + from, folder: to}, os.Getenv); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(to, "model.joblib"))
	if err != nil || string(got) != "the model" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTerminationMessage(t *testing.T) {
	err := run(t.Context(), options{uri: "file:///not/there", folder: t.TempDir()}, os.Getenv)
	if err == nil {
		t.Fatal("run succeeded")
	}
	message := filepath.Join(t.TempDir(), "termination-log")
	if err := os.WriteFile(message, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	report(message, oneLine(err))
	got, err := os.ReadFile(message)
	if want := "/not/there: missing: there is no such file or folder; check storageUri"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestExitCode(t *testing.T) {
	for kind, want := range map[storage.Kind]int{storage.Unreachable: 75, storage.Unavailable: 75, storage.Missing: 1, storage.Forbidden: 1, storage.Invalid: 1} {
		err := errors.Join(&storage.Error{Kind: kind, Err: errors.New("the credentials cannot be obtained")}, nil)
		if got := exitCode(err); got != want {
			t.Errorf("%s: got %d, want %d", kind, got, want)
		}
	}
}

func TestReportDoesNotCreateTheFile(t *testing.T) {
	message := filepath.Join(t.TempDir(), "termination-log")
	report(message, "a line")
	if _, err := os.Stat(message); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}
