// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/serinus-io/serinus/test/cluster/internal/proc"
	"github.com/serinus-io/serinus/test/cluster/isolated"
)

const tempPrefix = "serinus-cluster-"

// state is what a later run needs to find a cluster, or to clean up after it if it was killed.
type state struct {
	Level      Level          `json:"level"`
	Supervisor processState   `json:"supervisor"`
	Processes  []processState `json:"processes"`
	DataDir    string         `json:"dataDir"`
	OwnsDir    bool           `json:"ownsDir"`
}

type processState struct {
	Name string `json:"name"`
	proc.Identity
}

func identify(name string, pid int) processState {
	return processState{Name: name, Identity: proc.Identify(pid)}
}

const stateFile = "state.json"

func (c *Cluster) statePath() string { return filepath.Join(c.dir, stateFile) }

func (c *Cluster) writeState(running []processState) error {
	supervisor := identify("supervisor", os.Getpid())
	if isolated.Inside() { // PIDs of the namespace have no meaning outside of it.
		host := isolated.Host()
		supervisor.Identity = host.Program
		running = []processState{{Name: "namespaces", Identity: host.Init}}
	}
	data, err := json.MarshalIndent(state{
		Level:      c.options.Level,
		Supervisor: supervisor,
		Processes:  running,
		DataDir:    c.dataDir,
		OwnsDir:    c.ownsDir,
	}, "", "  ")
	if err != nil {
		return err
	}
	errs := []error{writeAtomically(c.statePath(), data)}
	if c.dataDir != c.dir { // removeLeftovers must know which cluster the data belong to.
		errs = append(errs, writeAtomically(filepath.Join(c.dataDir, stateFile), data))
	}
	return errors.Join(errs...)
}

// writeAtomically replaces a file so that readers never see part of it.
func writeAtomically(path string, data []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("writing the state of the cluster: %w", err)
	}
	return os.Rename(temporary, path)
}

func readState(dir string) (state, error) {
	var s state
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	return s, nil
}

// Running reports whether the program that started the cluster in this folder is still running.
func Running(dir string) (bool, error) {
	if isolated.Inside() {
		return false, errInside
	}
	s, err := readState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && s.Supervisor.Alive(), err
}

// errInside is returned inside of the namespaces because the state contains PIDs of the host.
var errInside = errors.New("this must be called outside of the cluster's namespaces")

// Down stops the cluster in this folder and removes its data. It also cleans up after a cluster
// that was killed. It reports whether there was anything to do.
func Down(dir string) (found bool, err error) {
	if isolated.Inside() {
		return false, errInside
	}
	s, err := readState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.terminate()
	if err := removeNode(s.DataDir); err != nil {
		return true, err
	}
	if s.OwnsDir {
		return true, os.RemoveAll(dir)
	}
	return true, removeAllButLogs(dir, s.DataDir)
}

// removeAllButLogs removes everything except the logs from the folders of a cluster.
func removeAllButLogs(dir, dataDir string) error {
	var errs []error
	for _, name := range []string{stateFile, "kubeconfig", "pki", "etcd"} {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	if dir != dataDir {
		errs = append(errs, os.RemoveAll(dataDir))
	}
	return errors.Join(errs...)
}

// removeLeftovers removes the data of clusters whose programs were killed. It ignores errors
// because the data may belong to another user.
func removeLeftovers() {
	if isolated.Inside() {
		return // PIDs of the host are not visible here.
	}
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		if s, err := readState(dir); err == nil && !s.Supervisor.Alive() {
			s.terminate()
			_ = removeNode(dir)
			_ = os.RemoveAll(dir)
		}
	}
}

// terminate ends the remaining processes of the cluster, starting with the supervisor, which
// stops the others in order.
func (s state) terminate() {
	const grace = 30 * time.Second
	if s.Supervisor.PID != os.Getpid() { // This program cleans up itself.
		s.Supervisor.terminate(grace)
	}
	for _, p := range s.Processes {
		p.terminate(time.Second)
	}
}

func (p processState) terminate(grace time.Duration) {
	signals := []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, 5 * time.Second}}
	for _, s := range signals {
		if !p.Alive() {
			return
		}
		_ = syscall.Kill(p.PID, s.signal)
		for deadline := time.Now().Add(s.wait); p.Alive() && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
		}
	}
}
