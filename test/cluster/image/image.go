// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package image builds container images without a container tool. An image contains a static
// program, other files, or a root file system from a tar archive. Builds are reproducible: equal
// contents make equal images. Layers are streamed, so images can be larger than memory.
package image

import (
	"encoding/json"
	"fmt"
	"runtime"
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
func Program(name, path string) Image {
	return Image{Name: name, Entrypoint: []string{"/" + program}, Layers: []Layer{Files{program: path}}}
}

// config is the image configuration of the OCI specification.
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
	WorkingDir string   `json:"WorkingDir,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// ID returns the image ID that container runtimes use, a digest of the image's contents.
func (i Image) ID() (string, error) {
	layers, err := i.measure()
	if err != nil {
		return "", err
	}
	configuration, err := i.configuration(layers)
	return sum(configuration), err
}

// measure reads the layers once because an archive names each layer by its digest.
func (i Image) measure() ([]measured, error) {
	layers := make([]measured, 0, len(i.Layers))
	for _, layer := range i.Layers {
		m, err := measure(layer)
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", i.Name, err)
		}
		layers = append(layers, m)
	}
	return layers, nil
}

func (i Image) configuration(layers []measured) ([]byte, error) {
	c := config{
		Architecture: runtime.GOARCH, OS: "linux",
		Config: process{User: i.User, Entrypoint: i.Entrypoint, Env: i.Env, WorkingDir: i.Dir},
		RootFS: rootFS{Type: "layers"},
	}
	if c.Config.User == "" {
		c.Config.User = defaultUser
	}
	for _, layer := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, "sha256:"+layer.digest)
	}
	return json.Marshal(c)
}
