// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// table is a table in kubectl's output. Cells can be empty, so columns are separated by the
// positions of their titles.
type table struct {
	titles []string
	rows   [][]string
}

var word = regexp.MustCompile(`\S+`)

func parseTable(text string) table {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	spans := word.FindAllStringIndex(lines[0], -1)
	t := table{titles: word.FindAllString(lines[0], -1)}
	for _, line := range lines[1:] {
		row := make([]string, len(spans))
		for i, span := range spans {
			end := len(line)
			if i+1 < len(spans) {
				end = min(end, spans[i+1][0])
			}
			row[i] = strings.TrimSpace(line[min(span[0], end):end])
		}
		t.rows = append(t.rows, row)
	}
	return t
}

var podSuffix = regexp.MustCompile(`-[a-z0-9]{6,10}-[a-z0-9]{5}$`)

func stablePart(title, cell string) string {
	switch title {
	case "AGE":
		return ""
	case "NAME":
		return podSuffix.ReplaceAllString(cell, "-…")
	}
	return cell
}

// tableDifferences returns the differences between two tables apart from spacing, ages and
// generated names.
func tableDifferences(want, have string) []string {
	w, h := parseTable(want), parseTable(have)
	if !slices.Equal(w.titles, h.titles) {
		return []string{fmt.Sprintf("the columns are %q, want %q", h.titles, w.titles)}
	}
	if len(w.rows) != len(h.rows) {
		return []string{fmt.Sprintf("there are %d rows, want %d", len(h.rows), len(w.rows))}
	}
	var differences []string
	for i := range w.rows {
		for j, title := range w.titles {
			wantCell, haveCell := stablePart(title, w.rows[i][j]), stablePart(title, h.rows[i][j])
			if wantCell != haveCell {
				differences = append(differences, fmt.Sprintf("row %d, %s: %q, want %q", i+1, title, haveCell, wantCell))
			}
		}
	}
	return differences
}
