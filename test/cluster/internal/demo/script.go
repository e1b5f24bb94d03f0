// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	_ "embed"
	"fmt"
	"strings"
)

// walkthrough is a page that people can read and the demo can do: a block "sh"
// is a command, and what follows it as "table" or "excerpt" is what it has to
// print, sooner or later. A block "shares" is the percent of the requests that
// each revision has to get from then on. It, and a block "sh node", are for a
// real node alone, where there is somebody to answer requests.
//
//go:embed walkthrough.md
var walkthrough string

// step is one command of the walkthrough.
type step struct {
	heading, prose string
	command        string
	want           expectation
	// shares are the percent of requests by revision.
	shares map[string]int
	// nodeOnly steps need pods that run.
	nodeOnly bool
}

// expectation is what a command has to print.
type expectation struct {
	// form is "table", "excerpt", or empty if anything will do.
	form, text string
}

// parseScript reads the steps of a page in Markdown.
func parseScript(page string) ([]step, error) {
	var (
		steps          []step
		heading, prose string
	)
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		language, isBlock := strings.CutPrefix(line, "```")
		switch {
		case strings.HasPrefix(line, "## "):
			heading = strings.TrimPrefix(line, "## ")
		case !isBlock:
			prose = strings.TrimSpace(prose + " " + line)
		default:
			number := i + 1
			length := indexOf(lines[i+1:], "```")
			if length < 0 {
				return nil, fmt.Errorf("line %d: the block has no end", number)
			}
			block := strings.Join(lines[i+1:i+1+length], "\n")
			i += length + 1
			switch {
			case language == "sh", language == "sh node":
				steps = append(steps, step{heading: heading, prose: prose, command: block, nodeOnly: language != "sh"})
				heading, prose = "", ""
			case language == "shares":
				shares, err := parseShares(block)
				if err != nil {
					return nil, fmt.Errorf("line %d: %w", number, err)
				}
				steps = append(steps, step{heading: heading, prose: prose, shares: shares, nodeOnly: true})
				heading, prose = "", ""
			case len(steps) > 0 && (language == "table" || language == "excerpt"):
				steps[len(steps)-1].want = expectation{form: language, text: block}
			default:
				return nil, fmt.Errorf("line %d: a block %q has no meaning here", number, language)
			}
		}
	}
	return steps, nil
}

// parseShares reads lines of a revision and its percent.
func parseShares(block string) (map[string]int, error) {
	shares := map[string]int{}
	for line := range strings.Lines(block) {
		var revision string
		var percent int
		if _, err := fmt.Sscanf(line, "%s %d %%", &revision, &percent); err != nil {
			return nil, fmt.Errorf("%q is no revision with its percent", line)
		}
		shares[revision] = percent
	}
	return shares, nil
}

func indexOf(lines []string, wanted string) int {
	for i, line := range lines {
		if line == wanted {
			return i
		}
	}
	return -1
}

// differences tells how the output of a command is not what is expected.
func (e expectation) differences(output string) []string {
	switch e.form {
	case "table":
		return tableDifferences(e.text, output)
	case "excerpt":
		if e.excerptOf(output) == "" {
			return []string{"the output has no such part"}
		}
	}
	return nil
}

// shown is the part of the output that matters to the reader.
func (e expectation) shown(output string) string {
	if e.form == "excerpt" {
		if found := e.excerptOf(output); found != "" {
			return "…\n" + found + "\n…"
		}
	}
	return strings.TrimRight(output, "\n")
}

// excerptOf returns the lines of the output that are those of the excerpt,
// however deep they are indented; it is empty if they are not there.
func (e expectation) excerptOf(output string) string {
	want := strings.Split(e.text, "\n")
	have := strings.Split(output, "\n")
	for i := range len(have) - len(want) + 1 {
		if found := have[i : i+len(want)]; sameApartFromIndent(want, found) {
			return strings.Join(found, "\n")
		}
	}
	return ""
}

func sameApartFromIndent(want, have []string) bool {
	indent, ok := strings.CutSuffix(have[0], want[0])
	if !ok || strings.TrimSpace(indent) != "" {
		return false
	}
	for i := range want {
		if have[i] != indent+want[i] {
			return false
		}
	}
	return true
}
