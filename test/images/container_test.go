// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

type container struct {
	root, models string
	config       *v1.ConfigFile
}

// open unpacks the image in the folder SERINUS_IMAGES and skips the test if it is not set.
func open(t *testing.T) *container {
	t.Helper()
	folder := os.Getenv("SERINUS_IMAGES")
	if folder == "" {
		t.Skip("SERINUS_IMAGES is not set: to test the real model server, run `go run ./test/images` and set it to the absolute path of bin/images")
	}
	if os.Geteuid() != 0 {
		t.Skip("the model server runs in its own root file system, which needs root")
	}
	c := &container{root: t.TempDir(), models: filepath.Join(folder, modelStore)}
	if err := c.unpack(filepath.Join(folder, "sklearnserver.tar")); err != nil {
		t.Fatal(err)
	}
	// t.TempDir is accessible to root only, but the server runs as another user.
	for dir := c.root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *container) unpack(archive string) error {
	packed, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		return err
	}
	if c.config, err = packed.ConfigFile(); err != nil {
		return err
	}
	layers, err := packed.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			return err
		}
		extract := exec.Command("tar", "--extract", "--directory="+c.root)
		extract.Stdin = content
		if err := errors.Join(runQuietly(extract), content.Close()); err != nil {
			return err
		}
	}
	return nil
}

const pod = "sklearn-iris-predictor-00001-deployment-7965bcc66-grdbq"

// server is a process of the image with the arguments of the serving runtime.
type server struct {
	address string
	exited  chan error
	process *os.Process
}

func (c *container) model(name string) func(folder string) error {
	return func(folder string) error { return os.CopyFS(folder, os.DirFS(filepath.Join(c.models, name))) }
}

// start starts the server with the user and the environment of the image. It does not wait until
// the server listens.
func (c *container) start(t *testing.T, fill func(folder string) error, env ...string) *server {
	t.Helper()
	mounted := filepath.Join(c.root, "mnt", "models")
	if err := errors.Join(os.RemoveAll(mounted), os.Mkdir(mounted, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := fill(mounted); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: listener.Addr().String(), exited: make(chan error, 1)}
	_, port, _ := net.SplitHostPort(s.address)
	_ = listener.Close()
	args := []string{"--uts", "sh", "-c", `hostname "$1" && shift && exec env --ignore-environment "$@"`, "sh", pod}
	args = append(append(append(args, c.config.Config.Env...), env...), "/usr/sbin/chroot", "--userspec="+c.config.Config.User, c.root)
	args = append(append(args, c.config.Config.Entrypoint...), "--model_name=sklearn-iris", "--model_dir=/mnt/models", "--http_port="+port)
	cmd := exec.Command("unshare", args...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process = cmd.Process
	go func() { s.exited <- cmd.Wait(); close(s.exited) }()
	t.Cleanup(func() {
		_ = s.process.Kill()
		if err := <-s.exited; err != nil {
			t.Logf("the server ended: %v", err)
		}
	})
	return s
}

func (s *server) terminate(t *testing.T) {
	t.Helper()
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

func (s *server) waitEnd(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.exited:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the server is still running after 20 s")
		return nil
	}
}

type response struct {
	StatusCode int
	Header     http.Header
	// Close reports whether the server asked to close the connection.
	Close bool
}

func (s *server) ask(ctx context.Context, method, path, body string) (response, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path, strings.NewReader(body))
	if err != nil {
		return response{}, "", err
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	reply, err := client.Do(request)
	if err != nil {
		return response{}, "", err
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(reply.Body)
	return response{reply.StatusCode, reply.Header, reply.Close}, string(data), err
}

func (s *server) await(t *testing.T, path string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		response, _, err := s.ask(ctx, http.MethodGet, path, "")
		if err == nil && response.StatusCode == status {
			return
		}
		select {
		case err := <-s.exited:
			t.Fatalf("the server ended: %v", err)
		case <-ctx.Done():
			t.Fatalf("no response with status %d: %v", status, err)
		case <-tick.C:
		}
	}
}
