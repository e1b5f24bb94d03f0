// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hack tests the scripts in this folder, and that the Dockerfile copies all packages of the
// operator.
package hack

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = ".."

// TestDockerfileCopiesImportedPackages compares the Dockerfile and .dockerignore with the packages
// that the operator imports.
func TestDockerfileCopiesImportedPackages(t *testing.T) {
	copied := copiedFolders(t)
	sent := lines(t, ".dockerignore")
	for _, folder := range copied {
		if !slices.Contains(sent, "!"+folder) {
			t.Errorf("the Dockerfile copies %s, which .dockerignore leaves out", folder)
		}
	}
	for _, folder := range foldersOf(t, "./cmd/manager") {
		inside := func(top string) bool { return folder == top || strings.HasPrefix(folder, top+"/") }
		if !slices.ContainsFunc(copied, inside) {
			t.Errorf("the operator imports %s, which the Dockerfile does not copy", folder)
		}
	}
}

func copiedFolders(t *testing.T) []string {
	t.Helper()
	var folders []string
	for _, line := range lines(t, "Dockerfile") {
		from, to, _ := strings.Cut(strings.TrimPrefix(line, "COPY "), " ")
		if strings.HasPrefix(line, "COPY ") && strings.HasSuffix(from, "/") && from == to {
			folders = append(folders, strings.TrimSuffix(from, "/"))
		}
	}
	if len(folders) == 0 {
		t.Fatal("the Dockerfile copies no folder")
	}
	return folders
}

func lines(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(data), "\n")
}

func foldersOf(t *testing.T, program string) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Module", program)
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var listed struct {
			ImportPath string
			Module     *struct {
				Path string
				Main bool
			}
		}
		if err := decoder.Decode(&listed); errors.Is(err, io.EOF) {
			return folders
		} else if err != nil {
			t.Fatal(err)
		}
		if listed.Module != nil && listed.Module.Main {
			folders = append(folders, strings.TrimPrefix(listed.ImportPath, listed.Module.Path+"/"))
		}
	}
}

// runScript runs a script with the given variables, and with fake programs first in PATH. It
// returns the calls of the fake programs and the script's output.
func runScript(t *testing.T, script string, args, variables, programs []string) (calls, output string, err error) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	for _, program := range programs {
		text := "#!/bin/sh\necho \"" + program + " $*\" >>" + log + "\n"
		if err := os.WriteFile(filepath.Join(dir, program), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "./"+script, args...)
	cmd.Env = append([]string{"PATH=" + dir + ":/usr/bin:/bin"}, variables...)
	out, err := cmd.CombinedOutput()
	written, readErr := os.ReadFile(log)
	if readErr != nil && !errors.Is(readErr, os.ErrNotExist) {
		t.Fatal(readErr)
	}
	return regexp.MustCompile(`REVISION=\S+`).ReplaceAllString(string(written), "REVISION=r"), string(out), err
}

func TestBuildImage(t *testing.T) {
	const given = "--target manager --build-arg VERSION=v1 --build-arg REVISION=r"
	tests := map[string]struct {
		variables []string
		want      string
	}{
		"docker, for this machine": {
			want: "docker buildx build " + given + " --tag ghcr.io/serinus-io/serinus:v1 --load .",
		},
		"the storage initializer": {
			variables: []string{"IMAGE=storage-initializer"},
			want: "docker buildx build " + strings.Replace(given, "manager", "storage-initializer", 1) +
				" --tag ghcr.io/serinus-io/storage-initializer:v1 --load .",
		},
		"docker, pushed": {
			variables: []string{"IMG=r.example:5000/s:1", "PUSH=1"},
			want:      "docker buildx build " + given + " --tag r.example:5000/s:1 --push .",
		},
		"docker, several platforms": {
			variables: []string{"IMG=r.example/s:1", "PUSH=1", "PLATFORMS=linux/amd64,linux/arm64"},
			want:      "docker buildx build --platform linux/amd64,linux/arm64 " + given + " --tag r.example/s:1 --push .",
		},
		"podman, for this machine": {
			variables: []string{"CONTAINER_TOOL=podman", "IMG=r.example/s:1"},
			want:      "podman build " + given + " --tag r.example/s:1 .",
		},
		"podman, pushed": {
			variables: []string{"CONTAINER_TOOL=podman", "IMG=r.example/s:1", "PUSH=1", "PLATFORMS=linux/arm64"},
			want:      "podman build --platform linux/arm64 " + given + " --tag r.example/s:1 .\npodman push r.example/s:1",
		},
		"podman, several platforms": {
			variables: []string{"CONTAINER_TOOL=podman", "IMG=r.example/s:1", "PUSH=1", "PLATFORMS=linux/amd64,linux/arm64"},
			want: "podman manifest rm r.example/s:1\n" +
				"podman build --platform linux/amd64,linux/arm64 " + given + " --manifest r.example/s:1 .\n" +
				"podman manifest push --all r.example/s:1 docker://r.example/s:1",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			calls, output, err := runScript(t, "build-image", nil, append(tt.variables, "VERSION=v1"), []string{"docker", "podman"})
			if err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			if got := strings.TrimPrefix(strings.TrimSpace(calls), "docker buildx version\n"); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestScriptErrors(t *testing.T) {
	tests := map[string]struct {
		script          string
		args, variables []string
		want            string
	}{
		"push without image":     {script: "build-image", variables: []string{"PUSH=1"}, want: "make docker-build PUSH=1 IMG="},
		"build without a tag":    {script: "build-image", variables: []string{"IMG=r.example:5000/s"}, want: "write, for example, IMG=r.example:5000/s:v0.1.0"},
		"build with a digest":    {script: "build-image", variables: []string{"IMG=r.example/s@sha256:0"}, want: "write a tag"},
		"platforms without push": {script: "build-image", variables: []string{"PLATFORMS=a,b"}, want: "add PUSH=1"},
		"missing tool":           {script: "build-image", variables: []string{"CONTAINER_TOOL=nonesuch"}, want: "nonesuch is missing"},
		"deploy without image":   {script: "use-image", args: []string{""}, want: "make deploy IMG="},
		"missing Prometheus":     {script: "get-prometheus", variables: []string{"PROMETHEUS=/nonesuch"}, want: "install Prometheus (2.42"},
		"deploy without a tag":   {script: "use-image", args: []string{"r.example:5000/s"}, want: "write, for example, IMG=r.example:5000/s:v0.1.0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			calls, output, err := runScript(t, tt.script, tt.args, append(tt.variables, "VERSION=v1"), []string{"docker"})
			if err == nil || calls != "" || !strings.Contains(output, tt.want) {
				t.Errorf("calls %q, error %v, output\n%s\nwant an error and output with\n%s", calls, err, output, tt.want)
			}
		})
	}
}

func TestPrometheusVersions(t *testing.T) {
	for version, tested := range map[string]bool{"2.42.0+ds": true, "3.15.1": true, "2.4.0": false, "": false} {
		program := filepath.Join(t.TempDir(), "prometheus")
		text := "#!/bin/sh\necho 'prometheus, version " + version + " (branch: b, revision: r)'\n"
		if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		calls, output, err := runScript(t, "get-prometheus", nil, []string{"PROMETHEUS=" + program}, []string{"apt-get"})
		if err != nil || calls != "" || (output == "") != tested {
			t.Errorf("version %q: calls %q, error %v, output %q; want tested=%t", version, calls, err, output, tested)
		}
	}
}
