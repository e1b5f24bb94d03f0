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
	// stateFile is on the volume for as long as a fetch is not at its end.
	stateFile = ".storage-initializer.json"
	// nextStateFile becomes the state file when it is complete.
	nextStateFile = stateFile + ".next"
)

// state is what has arrived, on record for the next run.
type state struct {
	root *os.Root

	mu      sync.Mutex
	saved   time.Time
	content stateContent
}

type stateContent struct {
	// Range is the length of the ranges that are counted.
	Range   int64                   `json:"range"`
	Objects map[string]*objectState `json:"objects"`
}

type objectState struct {
	Version string `json:"version"`
	Size    int64  `json:"size"`
	// Parts are the numbers of the ranges that are on the disk.
	Parts []int64 `json:"parts,omitempty"`
	Done  bool    `json:"done,omitempty"`
}

// readState takes from an earlier run what is about the same versions of the
// same objects, with the same ranges, as far as the files bear it out: a run can
// be killed between a change of a file and that of the record.
func readState(root *os.Root, objects []Object, length int64) (*state, error) {
	s := &state{root: root, content: stateContent{Range: length, Objects: map[string]*objectState{}}}
	data, err := root.ReadFile(stateFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var old stateContent
	if json.Unmarshal(data, &old) != nil || old.Range != length {
		old = stateContent{} // The run was killed while it wrote, or was another program's: begin anew.
	}
	for _, object := range objects {
		now := &objectState{Version: object.Version, Size: object.Size}
		known := old.Objects[object.Name]
		if known != nil && object.Version != "" && known.Version == object.Version && known.Size == object.Size {
			// A file has the name of its object only once it is whole.
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

// hasParts tells whether the file in the making is long enough for the ranges
// that are on record.
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

// parts are the ranges of an object that have arrived.
func (s *state) parts(object Object) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.content.Objects[object.Name].Parts)
}

// arrived takes down that a range is on the disk.
func (s *state) arrived(object Object, part int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.content.Objects[object.Name]
	if !slices.Contains(known.Parts, part) {
		known.Parts = append(known.Parts, part)
	}
	return s.writeAtTimes()
}

// writeAtTimes leaves out most of the writes: the record is about all objects,
// and may be long. What the record lacks, the files tell, or is fetched again.
func (s *state) writeAtTimes() error {
	const often = time.Second
	if time.Since(s.saved) < often {
		return nil
	}
	s.saved = time.Now()
	return s.write()
}

// done takes down that an object has its own name, or, if it is not what it was
// to be, that it must be fetched anew.
func (s *state) done(object Object, isRight bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.content.Objects[object.Name]
	known.Parts, known.Done = nil, isRight
	if !isRight {
		return s.write()
	}
	return s.writeAtTimes()
}

// missing is how many bytes are still to come.
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

// write replaces the record as a whole.
func (s *state) write() error {
	data, err := json.Marshal(s.content)
	if err != nil {
		return err
	}
	return errors.Join(s.root.WriteFile(nextStateFile, data, 0o600), s.root.Rename(nextStateFile, stateFile))
}

// remove ends the record.
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
