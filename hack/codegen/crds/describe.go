// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
)

// describe puts each paragraph of the project's own descriptions on one line. It shortens other
// descriptions to their first sentence, and removes those that are more than the given number of
// levels below a field of the project.
func describe(s *schema, own comments, levels int) {
	describeFrom(s, own, levels, 0)
}

func describeFrom(s *schema, own comments, levels, level int) {
	switch {
	case own.contain(s.Description):
		s.Description = unwrap(s.Description)
		level = 0
	case level > levels:
		s.Description = ""
	default:
		s.Description = firstSentence(s.Description)
	}
	for name, property := range s.Properties {
		describeFrom(&property, own, levels, level+1)
		s.Properties[name] = property
	}
	if s.Items != nil {
		describeFrom(s.Items.Schema, own, levels, level)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		describeFrom(s.AdditionalProperties.Schema, own, levels, level)
	}
}

func unwrap(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, paragraph := range paragraphs {
		paragraphs[i] = normalizeSpace(paragraph)
	}
	return strings.Join(paragraphs, "\n\n")
}

const maxSentence = 120

var abbreviations = []string{"e.g.", "i.e.", "etc.", "vs."}

func firstSentence(text string) string {
	paragraph, _, _ := strings.Cut(text, "\n\n")
	var sentence []string
	length := 0
	for word := range strings.FieldsSeq(paragraph) {
		if length += len(word) + 1; length > maxSentence {
			return strings.Join(sentence, " ") + " …"
		}
		sentence = append(sentence, word)
		if strings.HasSuffix(word, ".") && !slices.Contains(abbreviations, strings.TrimLeft(word, "(")) {
			break
		}
	}
	return strings.Join(sentence, " ")
}
