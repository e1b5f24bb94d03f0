// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	_ "embed"
	"fmt"
	"strings"
)

// walkthrough is a page for readers and for the demo. A block "sh" is a command. A block "table" or
// "excerpt" after it is the output that the command must eventually print. A block "shares"
// contains the percentage of requests that each revision must receive from then on. Blocks "shares"
// and "sh node" run only on a real node, whose pods answer requests.
//
//go:embed walkthrough.md
var walkthrough string

type step struct {
	heading, prose string
	command        string
	want           expectation
	shares         map[string]int
	// nodeOnly steps need a real node.
	nodeOnly bool
}

type expectation struct {
	// form is "table", "excerpt", or empty if any output is accepted.
	form, text string
}

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
				return nil, fmt.Errorf("line %d: unexpected block %q", number, language)
			}
		}
	}
	return steps, nil
}

func parseShares(block string) (map[string]int, error) {
	shares := map[string]int{}
	for line := range strings.Lines(block) {
		var revision string
		var percent int
		if _, err := fmt.Sscanf(line, "%s %d %%", &revision, &percent); err != nil {
			return nil, fmt.Errorf("%q is not a revision with a percentage", line)
		}
		shares[revision] = percent
	}
	return shares, nil
}

func indexOf(lines []string, want string) int {
	for i, line := range lines {
		if line == want {
			return i
		}
	}
	return -1
}

func (e expectation) differences(output string) []string {
	switch e.form {
	case "table":
		return tableDifferences(e.text, output)
	case "excerpt":
		if e.excerptOf(output) == "" {
			return []string{"the output does not contain the excerpt"}
		}
	}
	return nil
}

func (e expectation) display(output string) string {
	if e.form == "excerpt" {
		if found := e.excerptOf(output); found != "" {
			return "…\n" + found + "\n…"
		}
	}
	return strings.TrimRight(output, "\n")
}

// excerptOf returns the lines of the output that equal the excerpt apart from their indentation, or
// "" if there are none.
func (e expectation) excerptOf(output string) string {
	want := strings.Split(e.text, "\n")
	have := strings.Split(output, "\n")
	for i := range len(have) - len(want) + 1 {
		if found := have[i : i+len(want)]; equalExceptIndent(want, found) {
			return strings.Join(found, "\n")
		}
	}
	return ""
}

func equalExceptIndent(want, have []string) bool {
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
