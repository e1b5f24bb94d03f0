// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
)

// inCI selects a scenario for `make e2e SCENARIOS=ci`, which runs in CI.
var inCI = Label("ci")

// rules labels a scenario with the rules of the contract that it covers. The rows are named in the
// scenario's text.
func rules(numbers ...int) Labels {
	var labels Labels
	for _, number := range numbers {
		labels = append(labels, fmt.Sprintf("rule %d", number))
	}
	return labels
}

const (
	// lastRow is the last row of the contract's table. Scenarios must cover rows 1 to 22 and row 9b
	// in each mode, except that row 22 applies only to Deployments.
	lastRow = 22
	// lastRule is the last rule that is visible in traffic. The later rules are about writes and
	// messages.
	lastRule = 7
)

// TestScenariosForCI checks that the scenarios that run in CI cover each row and each rule in each
// mode. It needs no cluster.
func TestScenariosForCI(t *testing.T) {
	covered := map[mode]map[string]bool{inStandard: {}, inKnative: {}}
	for _, spec := range PreviewSpecs("Canary releases under traffic").SpecReports {
		if !slices.Contains(spec.Labels(), "ci") {
			continue
		}
		in := inKnative // Also the section about KServe.
		if slices.Contains(spec.ContainerHierarchyTexts, sectionOf(inStandard)) {
			in = inStandard
		}
		for _, what := range append(rowsIn(spec.FullText()), spec.Labels()...) {
			covered[in][what] = true
		}
	}
	for in, what := range covered {
		rows := []string{"9b"}
		for row := 1; row <= lastRow; row++ {
			rows = append(rows, strconv.Itoa(row))
		}
		for _, row := range rows {
			if !what["row "+row] && (row != "22" || in == inStandard) {
				t.Errorf("no scenario that runs in CI covers row %s in %s", row, sectionOf(in))
			}
		}
		for rule := 1; rule <= lastRule; rule++ {
			if !what[fmt.Sprintf("rule %d", rule)] {
				t.Errorf("no scenario that runs in CI covers rule %d in %s", rule, sectionOf(in))
			}
		}
	}
}

func rowsIn(text string) []string {
	var rows []string
	for _, named := range regexp.MustCompile(`\(rows? ([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		for number := range strings.FieldsFuncSeq(named[1], func(r rune) bool { return strings.ContainsRune(" ,and", r) }) {
			rows = append(rows, "row "+number)
		}
	}
	return rows
}
