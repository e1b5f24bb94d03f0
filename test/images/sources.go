// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

var suites = []string{release, release + "-updates", release + "-security"}

// ownSources writes the sources of Debian packages that this machine uses to files in the folder.
// On other systems it returns no files, and mmdebstrap uses Debian's servers.
func ownSources(etc fs.FS, folder string) (files []string, err error) {
	candidates, _ := fs.Glob(etc, "sources.list.d/*") // The pattern is valid.
	for _, name := range append([]string{"sources.list"}, candidates...) {
		ext := filepath.Ext(name)
		if ext != ".list" && ext != ".sources" {
			continue
		}
		data, err := fs.ReadFile(etc, name)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		content := debianLines(string(data))
		if ext == ".sources" {
			content = debianStanzas(string(data))
		}
		if content == "" {
			continue
		}
		path := filepath.Join(folder, fmt.Sprintf("%d%s", len(files), ext))
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	return files, nil
}

// debianLines returns the lines of a sources.list that name one of the suites, such as
//
//	deb [signed-by=…] http://deb.example.org/debian bookworm main
func debianLines(list string) string {
	var kept strings.Builder
	for line := range strings.Lines(list) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, after, found := strings.Cut(rest, "]"); found && strings.HasPrefix(strings.TrimSpace(rest), "[") {
			rest = after
		}
		fields := strings.Fields(rest)
		if kind == "deb" && len(fields) > 2 && slices.Contains(suites, fields[1]) && slices.Contains(fields[2:], "main") {
			kept.WriteString(strings.TrimSpace(line) + "\n")
		}
	}
	return kept.String()
}

func debianStanzas(sources string) string {
	var kept []string
	for stanza := range strings.SplitSeq(sources, "\n\n") {
		fields := map[string][]string{}
		for line := range strings.Lines(stanza) {
			if key, value, found := strings.Cut(line, ":"); found && !strings.HasPrefix(line, "#") {
				fields[strings.ToLower(key)] = strings.Fields(value)
			}
		}
		debian := slices.ContainsFunc(fields["suites"], func(s string) bool { return slices.Contains(suites, s) })
		if debian && slices.Contains(fields["types"], "deb") && slices.Contains(fields["components"], "main") && !slices.Contains(fields["enabled"], "no") {
			kept = append(kept, strings.TrimSpace(stanza)+"\n")
		}
	}
	return strings.Join(kept, "\n")
}

// ownOptions writes the apt options for fetching packages on this machine, such as a proxy, to the
// path, and returns the mmdebstrap argument to use them.
func ownOptions(ctx context.Context, path string) (args []string, err error) {
	if _, err := exec.LookPath("apt-config"); err != nil {
		return nil, nil //nolint:nilerr // Without apt there are no options.
	}
	all, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return nil, fmt.Errorf("reading the settings of apt: %w", err)
	}
	var kept strings.Builder
	for line := range strings.Lines(string(all)) {
		for _, prefix := range []string{"Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries ", "Acquire::ForceIPv"} {
			if strings.HasPrefix(line, prefix) {
				kept.WriteString(line)
			}
		}
	}
	if kept.Len() == 0 {
		return nil, nil
	}
	return []string{"--aptopt=" + path}, os.WriteFile(path, []byte(kept.String()), 0o644)
}
