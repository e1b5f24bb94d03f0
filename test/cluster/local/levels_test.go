// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Missing programs and images are reported before anything starts, with the command that builds
// them.
func TestOptionsReportMissingFiles(t *testing.T) {
	options := Options{Level: Knative, Tools: t.TempDir(), Images: t.TempDir()}
	complete := func(want string) {
		t.Helper()
		if err := options.complete(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	complete("go run ./hack/build-tools kubectl")
	for _, tool := range options.Level.Tools() {
		touch(t, filepath.Join(options.Tools, tool))
	}
	complete("go run ./test/images knative-controller")
	for _, image := range options.Level.Images() {
		touch(t, options.image(image))
	}
	if err := options.complete(); err != nil {
		t.Error(err)
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLevelsWithARealNode(t *testing.T) {
	for level, want := range map[Level]bool{ControlPlane: false, Simulated: false, Pods: true, Node: true, Knative: true} {
		if got := level.RunsPods(); got != want {
			t.Errorf("%s runs pods: %t, want %t", level, got, want)
		}
	}
	if _, err := ParseLevel("knativ"); err == nil || !strings.Contains(err.Error(), "control-plane or simulated or pods or node or knative") {
		t.Errorf("got %v, want a list of the levels", err)
	}
}
