// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package image packs programs that need nothing but the kernel into container
// images of one layer, without a container tool.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
)

// Image is a program with its name.
type Image struct {
	// Name has a tag, such as dev.local/pause:1.
	Name string
	// Program is the path of a program that is linked statically. In the image it
	// is /program.
	Program string
}

const (
	program = "program"
	// user is none that the machine has.
	user = "65532:65532"
)

// config is the configuration of an image, as far as there is something to say.
type config struct {
	Architecture string  `json:"architecture"`
	OS           string  `json:"os"`
	Config       process `json:"config"`
	RootFS       rootFS  `json:"rootfs"`
}

type process struct {
	User       string   `json:"User"`
	Entrypoint []string `json:"Entrypoint"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// manifest names the parts of an archive.
type manifest struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// Write writes the image into an archive as `docker save` does. Equal programs
// make equal archives.
func (i Image) Write(archive string) (err error) {
	layer, err := i.layer()
	if err != nil {
		return fmt.Errorf("packing %s: %w", i.Program, err)
	}
	file, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return i.write(file, layer)
}

// layer is an archive with nothing but the program.
func (i Image) layer() ([]byte, error) {
	data, err := os.ReadFile(i.Program)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	err = errors.Join(add(archive, program, 0o755, data), archive.Close())
	return layer.Bytes(), err
}

func (i Image) write(out io.Writer, layer []byte) error {
	digest := sum(layer)
	configuration, err := json.Marshal(config{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Config:       process{User: user, Entrypoint: []string{path.Join("/", program)}},
		RootFS:       rootFS{Type: "layers", DiffIDs: []string{"sha256:" + digest}},
	})
	if err != nil {
		return err
	}
	parts := manifest{Config: sum(configuration) + ".json", RepoTags: []string{i.Name}, Layers: []string{digest + ".tar"}}
	contents, err := json.Marshal([]manifest{parts})
	if err != nil {
		return err
	}
	archive := tar.NewWriter(out)
	return errors.Join(
		add(archive, parts.Config, 0o644, configuration),
		add(archive, parts.Layers[0], 0o644, layer),
		add(archive, "manifest.json", 0o644, contents),
		archive.Close(),
	)
}

func add(archive *tar.Writer, name string, mode int64, data []byte) error {
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := archive.Write(data)
	return err
}

func sum(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}
