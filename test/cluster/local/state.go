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

// tempPrefix begins the names of all temporary folders of clusters.
const tempPrefix = "serinus-cluster-"

// state is what a later run needs to know of a cluster: to find it, and to
// clean up behind it if it was killed.
type state struct {
	Level      Level          `json:"level"`
	Supervisor processState   `json:"supervisor"`
	Processes  []processState `json:"processes"`
	DataDir    string         `json:"dataDir"`
	OwnsDir    bool           `json:"ownsDir"`
}

// processState is a process by its name.
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
	if isolated.Inside() { // The numbers of processes mean nothing outside.
		outside := isolated.TheOutside()
		supervisor.Identity = outside.Program
		running = []processState{{Name: "namespaces", Identity: outside.First}}
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
	errs := []error{writeWhole(c.statePath(), data)}
	if c.dataDir != c.dir { // So that it is known whose data they are.
		errs = append(errs, writeWhole(filepath.Join(c.dataDir, stateFile), data))
	}
	return errors.Join(errs...)
}

// writeWhole writes a file so that nobody ever reads a part of it.
func writeWhole(path string, data []byte) error {
	fresh := path + ".new"
	if err := os.WriteFile(fresh, data, 0o600); err != nil {
		return fmt.Errorf("recording the state of the cluster: %w", err)
	}
	return os.Rename(fresh, path)
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

// Running reports whether the program that started the cluster of this folder
// is still there.
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

// errInside: what is recorded are processes as they are seen from outside.
var errInside = errors.New("whether a cluster runs cannot be told in namespaces of its own: ask outside")

// Down ends the cluster of this folder, whoever started it, and removes what a
// killed one left behind. It reports whether there was anything to do.
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

// removeAllButLogs removes what a cluster leaves in its folders, except for
// what may be worth reading.
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

// removeRemains removes the data of clusters whose programs were killed. It is
// a courtesy: what cannot be removed may well belong to somebody else.
func removeRemains() {
	if isolated.Inside() {
		return // Whose programs were killed cannot be seen from here.
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

// terminate ends what is left of the cluster's processes, the one first that
// ends the others in good order.
func (s state) terminate() {
	const grace = 30 * time.Second
	if s.Supervisor.PID != os.Getpid() { // It cleans up itself.
		s.Supervisor.terminate(grace)
	}
	for _, p := range s.Processes {
		p.terminate(time.Second)
	}
}

// terminate asks the process to end, and ends it after the grace period.
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
