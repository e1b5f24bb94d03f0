// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package image packs container images without a container tool: programs that
// need nothing but the kernel, and root file systems that something else made.
package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
)

// Image is what a container is started from.
type Image struct {
	// Name has a tag, such as dev.local/pause:1.
	Name       string
	Entrypoint []string
	// Env are variables, as NAME=value.
	Env []string
	// Layers make up the file system, the lowest first.
	Layers []Layer
}

// Layer is a part of a file system.
type Layer interface {
	// open returns the layer as an archive, which is the same each time.
	open() (io.ReadCloser, error)
}

// Archive is the path of a file that is a layer as it is: a tar archive, not
// compressed.
type Archive string

func (a Archive) open() (io.ReadCloser, error) { return os.Open(string(a)) }

// Files are copied from the machine. The key is the path in the image, without
// the leading slash; the value that of the file.
type Files map[string]string

// program is the path of the only file of an image for a program.
const program = "program"

// Program is the image of one program, which is linked statically.
func Program(name, path string) Image {
	return Image{Name: name, Entrypoint: []string{"/" + program}, Layers: []Layer{Files{program: path}}}
}

// user is none that the machine has. It is numeric, so that the kubelet sees that it is not root.
const user = "65532:65532"

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
	Env        []string `json:"Env,omitempty"`
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

// Write writes the image into an archive as `docker save` does. Equal contents
// make equal archives.
func (i Image) Write(archive string) (err error) {
	file, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := i.write(file); err != nil {
		return fmt.Errorf("packing %s: %w", i.Name, err)
	}
	return nil
}

func (i Image) write(out io.Writer) error {
	configuration := config{
		Architecture: runtime.GOARCH, OS: "linux",
		Config: process{User: user, Entrypoint: i.Entrypoint, Env: i.Env},
		RootFS: rootFS{Type: "layers"},
	}
	parts := manifest{RepoTags: []string{i.Name}}
	archive := tar.NewWriter(out)
	for _, layer := range i.Layers {
		digest, size, err := measure(layer)
		if err != nil {
			return err
		}
		name := digest + ".tar"
		if err := addLayer(archive, name, size, layer); err != nil {
			return err
		}
		parts.Layers = append(parts.Layers, name)
		configuration.RootFS.DiffIDs = append(configuration.RootFS.DiffIDs, "sha256:"+digest)
	}
	written, err := json.Marshal(configuration)
	if err != nil {
		return err
	}
	parts.Config = sum(written) + ".json"
	contents, err := json.Marshal([]manifest{parts})
	if err != nil {
		return err
	}
	return errors.Join(
		add(archive, parts.Config, 0o644, written),
		add(archive, "manifest.json", 0o644, contents),
		archive.Close(),
	)
}

// measure reads a layer once: its name in an archive is its digest, and stands before it.
func measure(layer Layer) (digest string, size int64, err error) {
	content, err := layer.open()
	if err != nil {
		return "", 0, err
	}
	defer content.Close()
	hash := sha256.New()
	size, err = io.Copy(hash, content)
	return hex.EncodeToString(hash.Sum(nil)), size, err
}

func addLayer(archive *tar.Writer, name string, size int64, layer Layer) error {
	content, err := layer.open()
	if err != nil {
		return err
	}
	defer content.Close()
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size}); err != nil {
		return err
	}
	_, err = io.Copy(archive, content)
	return err
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
