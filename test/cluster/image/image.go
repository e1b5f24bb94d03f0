// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package image builds container images without a container tool. An image contains a static
// program, other files, or a root file system from a tar archive. Builds are reproducible: equal
// contents make equal images. Layers are streamed, so images can be larger than memory.
//
// The layers implement v1.Layer themselves because go-containerregistry compresses the layers that
// it creates. Compression takes longer than all other steps, and images only move between folders
// of one machine.
package image

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Image describes a container image.
type Image struct {
	// Name includes a tag, such as dev.local/pause:1.
	Name       string
	Entrypoint []string
	// Env are the environment variables, as NAME=value.
	Env []string
	// Dir is the working directory. The default is /.
	Dir string
	// User is numeric so that the kubelet can verify that it is not root. The default is
	// 65532:65532.
	User string
	// Layers are the layers of the file system, the lowest first.
	Layers []Layer
}

const program = "program"

// defaultUser has no account in the image or on the machine.
const defaultUser = "65532:65532"

// Program returns an image that contains only one statically linked program.
func Program(imageName, path string) Image {
	return Image{Name: imageName, Entrypoint: []string{"/" + program}, Layers: []Layer{Files{program: path}}}
}

// ID returns the image ID that container runtimes use, a digest of the image's contents.
func (i Image) ID() (string, error) {
	built, err := i.build()
	if err != nil {
		return "", err
	}
	id, err := built.ConfigName()
	return id.Hex, err
}

// Write writes the image to an archive in the format of `docker save`.
func (i Image) Write(archive string) (err error) {
	tag, err := name.NewTag(i.Name)
	if err != nil {
		return err
	}
	built, err := i.build()
	if err != nil {
		return err
	}
	file, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := tarball.Write(tag, built, file); err != nil {
		return fmt.Errorf("packing %s: %w", i.Name, err)
	}
	return nil
}

// build reads the layers once because an image names each layer by its digest.
func (i Image) build() (v1.Image, error) {
	layers := make([]v1.Layer, 0, len(i.Layers))
	for _, layer := range i.Layers {
		m, err := measure(layer)
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", i.Name, err)
		}
		layers = append(layers, m)
	}
	configuration := &v1.ConfigFile{
		Architecture: runtime.GOARCH, OS: "linux",
		Config: v1.Config{User: cmp.Or(i.User, defaultUser), Entrypoint: i.Entrypoint, Env: i.Env, WorkingDir: i.Dir},
		RootFS: v1.RootFS{Type: "layers"},
	}
	base, err := mutate.ConfigFile(empty.Image, configuration)
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(base, layers...)
}
