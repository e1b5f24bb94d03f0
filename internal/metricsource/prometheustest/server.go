// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheustest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const startTimeout = 30 * time.Second

// Server is a Prometheus that can be stopped and started again with its data.
type Server struct {
	// URL is the address of its API. It stays the same.
	URL string

	program, dir, address string
	process               *exec.Cmd
}

// Start starts a Prometheus with the configuration, and stops it when the test ends. The program is
// the one that hack/get-prometheus downloads, unless the variable PROMETHEUS names another. root is
// the folder of the repository.
func Start(t *testing.T, root, config string) *Server {
	t.Helper()
	program := os.Getenv("PROMETHEUS")
	if program == "" {
		program = filepath.Join(root, "bin", "tools", "prometheus")
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: run `make test-prometheus`, or `hack/get-prometheus` before the test, or set PROMETHEUS to the path of a program", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{URL: "http://" + listener.Addr().String(), program: program, dir: t.TempDir(), address: listener.Addr().String()}
	_ = listener.Close()
	if err := os.WriteFile(s.configFile(), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.Run(t)
	return s
}

func (s *Server) configFile() string { return filepath.Join(s.dir, "prometheus.yaml") }

// Run starts the server, and waits until it answers queries.
func (s *Server) Run(t *testing.T) {
	t.Helper()
	var output bytes.Buffer
	s.process = exec.Command(s.program,
		"--config.file="+s.configFile(), "--storage.tsdb.path="+filepath.Join(s.dir, "data"),
		"--web.listen-address="+s.address, "--log.level=warn")
	s.process.Stdout, s.process.Stderr = &output, &output
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		return s.isReady(ctx), nil
	})
	if err != nil {
		_ = s.Stop()
		t.Fatalf("prometheus does not start: %s", output.String())
	}
}

func (s *Server) isReady(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/-/ready", http.NoBody)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Stop ends the server. Its data stays.
func (s *Server) Stop() error {
	if s.process == nil {
		return nil
	}
	err := s.process.Process.Signal(os.Interrupt)
	if err == nil {
		err = s.process.Wait()
	}
	s.process = nil
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return nil
	}
	return err
}
