// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// stateFile exists on the volume until the download is complete.
	stateFile = ".storage-initializer.json"
	// nextStateFile is renamed to stateFile, which replaces it atomically.
	nextStateFile = stateFile + ".next"
)

type state struct {
	root *os.Root

	mu      sync.Mutex
	saved   time.Time
	content stateContent
}

type stateContent struct {
	Range   int64                   `json:"range"`
	Objects map[string]*objectState `json:"objects"`
}

type objectState struct {
	Version string  `json:"version"`
	Size    int64   `json:"size"`
	Parts   []int64 `json:"parts,omitempty"`
	Done    bool    `json:"done,omitempty"`
}

// readState reads the state of an earlier run. It ignores objects that have another version, and
// ranges that the files do not contain, because a run may be killed before it writes the state
// file.
func readState(root *os.Root, objects []Object, length int64) (*state, error) {
	s := &state{root: root, content: stateContent{Range: length, Objects: map[string]*objectState{}}}
	data, err := root.ReadFile(stateFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var old stateContent
	if json.Unmarshal(data, &old) != nil || old.Range != length {
		old = stateContent{} // Start again if the file is damaged or the range length differs.
	}
	for _, object := range objects {
		now := &objectState{Version: object.Version, Size: object.Size}
		known := old.Objects[object.Name]
		if known != nil && object.Version != "" && known.Version == object.Version && known.Size == object.Size {
			// A file is renamed to its object's name only when it is complete.
			now.Done = s.hasFile(object)
			if !now.Done && s.hasParts(object, known.Parts) {
				now.Parts = known.Parts
			}
		}
		s.content.Objects[object.Name] = now
	}
	return s, nil
}

func (s *state) hasFile(object Object) bool {
	info, err := s.root.Stat(object.Name)
	return err == nil && info.Mode().IsRegular() && (object.Size == unknownSize || info.Size() == object.Size)
}

func (s *state) hasParts(object Object, parts []int64) bool {
	info, err := s.root.Stat(object.Name + partialSuffix)
	if err != nil || len(parts) == 0 {
		return false
	}
	return info.Size() >= min(object.Size, (slices.Max(parts)+1)*s.content.Range)
}

func (s *state) isDone(object Object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.content.Objects[object.Name].Done
}

func (s *state) parts(object Object) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.content.Objects[object.Name].Parts)
}

func (s *state) markPart(object Object, part int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.content.Objects[object.Name]
	if !slices.Contains(known.Parts, part) {
		known.Parts = append(known.Parts, part)
	}
	return s.writeThrottled()
}

// writeThrottled writes at most once a second, because the file lists all objects and may be long.
// Complete files are recognized without it, and ranges that it lacks are downloaded again.
func (s *state) writeThrottled() error {
	const interval = time.Second
	if time.Since(s.saved) < interval {
		return nil
	}
	s.saved = time.Now()
	return s.write()
}

// markDone marks an object as complete or, if it is not valid, as missing.
func (s *state) markDone(object Object, isValid bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.content.Objects[object.Name]
	known.Parts, known.Done = nil, isValid
	if !isValid {
		return s.write()
	}
	return s.writeThrottled()
}

func (s *state) missing(objects []Object) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := int64(0)
	for _, object := range objects {
		known := s.content.Objects[object.Name]
		if known.Done || object.Size == unknownSize {
			continue
		}
		missing += object.Size
		for _, part := range known.Parts {
			missing -= min(s.content.Range, object.Size-part*s.content.Range)
		}
	}
	return missing
}

func (s *state) save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write()
}

func (s *state) write() error {
	data, err := json.Marshal(s.content)
	if err != nil {
		return err
	}
	return errors.Join(s.root.WriteFile(nextStateFile, data, 0o600), s.root.Rename(nextStateFile, stateFile))
}

func (s *state) remove() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.content.Objects)) {
		if err := s.root.Remove(name + partialSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := s.root.Remove(stateFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
