// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
)

type comments map[string]bool

func (c comments) contain(text string) bool {
	return c[normalizeSpace(text)]
}

func commentsIn(dirs []string) (comments, error) {
	found := comments{}
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			found.addFrom(file)
		}
	}
	return found, nil
}

func (c comments) addFrom(file *ast.File) {
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.GenDecl:
			c.add(node.Doc)
		case *ast.TypeSpec:
			c.add(node.Doc)
		case *ast.Field:
			c.add(node.Doc)
		}
		return true
	})
}

func (c comments) add(group *ast.CommentGroup) {
	if text := withoutMarkers(group.Text()); text != "" {
		c[text] = true
	}
}

func withoutMarkers(comment string) string {
	var kept []string
	for line := range strings.Lines(comment) {
		if !strings.HasPrefix(line, "+") {
			kept = append(kept, line)
		}
	}
	return normalizeSpace(strings.Join(kept, ""))
}

func normalizeSpace(text string) string {
	return strings.Join(strings.Fields(text), " ")
}
