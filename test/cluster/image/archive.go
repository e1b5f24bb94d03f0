// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

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
)

type manifest struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// Write writes the image to an archive in the format of `docker save`.
func (i Image) Write(archive string) (err error) {
	layers, err := i.measure()
	if err != nil {
		return err
	}
	file, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := i.write(file, layers); err != nil {
		return fmt.Errorf("packing %s: %w", i.Name, err)
	}
	return nil
}

func (i Image) write(out io.Writer, layers []measured) error {
	configuration, err := i.configuration(layers)
	if err != nil {
		return err
	}
	parts := manifest{Config: sum(configuration) + ".json", RepoTags: []string{i.Name}}
	archive := tar.NewWriter(out)
	for _, layer := range layers {
		name := layer.digest + ".tar"
		if err := layer.copy(archive, name); err != nil {
			return err
		}
		parts.Layers = append(parts.Layers, name)
	}
	contents, err := json.Marshal([]manifest{parts})
	if err != nil {
		return err
	}
	return errors.Join(
		add(archive, parts.Config, configuration),
		add(archive, "manifest.json", contents),
		archive.Close(),
	)
}

func add(archive *tar.Writer, name string, data []byte) error {
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := archive.Write(data)
	return err
}

func sum(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}
