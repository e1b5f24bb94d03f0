// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package image packs container images without a container tool: programs that
// need nothing but the kernel, and root file systems that something else made.
// Equal contents make equal images, and none has to fit into memory.
package image

import (
	"encoding/json"
	"fmt"
	"runtime"
)

// Image is what a container is started from.
type Image struct {
	// Name has a tag, such as dev.local/pause:1.
	Name       string
	Entrypoint []string
	// Env are variables, as NAME=value.
	Env []string
	// Dir is the working directory, / by default.
	Dir string
	// User is numeric, so that the kubelet sees that it is not root; by default one
	// that no machine has.
	User string
	// Layers make up the file system, the lowest first.
	Layers []Layer
}

// program is the path of the only file of an image for a program.
const program = "program"

// nobody is no user of the machine.
const nobody = "65532:65532"

// Program is the image of one program, which is linked statically.
func Program(name, path string) Image {
	return Image{Name: name, Entrypoint: []string{"/" + program}, Layers: []Layer{Files{program: path}}}
}

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
	WorkingDir string   `json:"WorkingDir,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// ID is what a container runtime calls the image by when it has no name: a digest
// of all that is in it.
func (i Image) ID() (string, error) {
	layers, err := i.measure()
	if err != nil {
		return "", err
	}
	configuration, err := i.configuration(layers)
	return sum(configuration), err
}

// measure reads the layers once: the digest of one stands before it in an archive.
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
		c.Config.User = nobody
	}
	for _, layer := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, "sha256:"+layer.digest)
	}
	return json.Marshal(c)
}
