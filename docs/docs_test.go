// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package docs_test compares the documentation with the code.
package docs_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/knative"
	"github.com/serinus-io/serinus/internal/backend/pods"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/metrics"
	"github.com/serinus-io/serinus/internal/metricsource"
	"github.com/serinus-io/serinus/internal/policy"
	"github.com/serinus-io/serinus/internal/rollout"
)

const root = ".."

// documents returns the Markdown files by their paths from the repository root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	texts := map[string]string{}
	for _, path := range paths {
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = read(t, name)
	}
	return texts
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	fence    = regexp.MustCompile("(?m)^ *```([a-z]*)\n((?s:.*?))\n *```$")
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

func TestLinksResolve(t *testing.T) {
	for name, text := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target := match[1]
			if strings.Contains(target, "://") {
				continue
			}
			path, anchor, _ := strings.Cut(target, "#")
			path = filepath.Join(filepath.Dir(name), path)
			if strings.HasPrefix(target, "#") {
				path = name
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s: the link to %s is broken", name, target)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, path)), anchor) {
				t.Errorf("%s: %s has no heading for the link to %s", name, path, target)
			}
		}
	}
}

// anchors returns the anchors of the headings, as GitHub derives them.
func anchors(text string) []string {
	dropped := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	var all []string
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		all = append(all, strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-"))
	}
	return all
}

func TestMakeTargetsExist(t *testing.T) {
	targets := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[match[1]] = true
	}
	for name, text := range documents(t) {
		for _, command := range commands(text) {
			words := strings.Fields(strings.Split(command, "#")[0])
			if len(words) == 0 || words[0] != "make" {
				continue
			}
			for _, word := range words[1:] {
				if !strings.Contains(word, "=") && !targets[word] {
					t.Errorf("%s: `%s`: the Makefile has no target %s", name, command, word)
				}
			}
		}
	}
}

// commands returns the lines of shell blocks and the code spans.
func commands(text string) []string {
	var all []string
	for _, block := range fence.FindAllStringSubmatch(text, -1) {
		if block[1] == "sh" {
			all = append(all, strings.Split(block[2], "\n")...)
		}
	}
	for _, span := range codeSpan.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		all = append(all, span[1])
	}
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// definedReasons returns the reasons of conditions and events that the code defines.
func definedReasons(t *testing.T) map[string]bool {
	t.Helper()
	reasons := map[string]bool{
		string(v1beta1.RuntimeDisabled): true, string(v1beta1.NoSupportingRuntime): true,
		string(v1beta1.RuntimeNotRecognized): true, string(v1beta1.InvalidPredictorSpec): true,
		string(policy.PolicyNotFound): true, string(policy.PolicyInvalid): true, string(policy.PolicyConflict): true,
	}
	isReason := regexp.MustCompile(`^([rR]eason|event)[A-Z]`)
	for _, folder := range []string{"internal/status", "internal/backend/gateway", "internal/backend/pods", "internal/backend/standard", "internal/backend/knative", "internal/controller"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for name, value := range stringConstants(t, file) {
				if isReason.MatchString(name) {
					reasons[value] = true
				}
			}
		}
	}
	if len(reasons) < 30 {
		t.Fatalf("only %d reasons were found in the code; check the folders of this test", len(reasons))
	}
	return reasons
}

// stringConstants returns the string constants of a file by name.
func stringConstants(t *testing.T, file string) map[string]string {
	t.Helper()
	if strings.HasSuffix(file, "_test.go") {
		return nil
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(parsed, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, value := range spec.Values {
			if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				found[spec.Names[i].Name] = text
			}
		}
		return true
	})
	return found
}

func TestReasonsAreDocumented(t *testing.T) {
	concepts := read(t, "docs/concepts.md")
	inCode := definedReasons(t)

	documented := map[string]bool{}
	for _, title := range []string{"Reasons", "Events"} {
		for _, row := range rows(section(t, concepts, title)) {
			if match := regexp.MustCompile("^`([A-Za-z]+)`$").FindStringSubmatch(row[0]); match != nil {
				documented[match[1]] = true
			}
		}
	}
	for reason := range inCode {
		if !documented[reason] {
			t.Errorf("docs/concepts.md does not document the reason %s", reason)
		}
	}
	for reason := range documented {
		if !inCode[reason] {
			t.Errorf("docs/concepts.md documents the reason %s, which the code does not define", reason)
		}
	}
}

// section returns the text under a second-level heading.
func section(t *testing.T, text, title string) string {
	t.Helper()
	_, after, found := strings.Cut(text, "\n## "+title+"\n")
	if !found {
		t.Fatalf("there is no heading %q", title)
	}
	body, _, _ := strings.Cut(after, "\n## ")
	return body
}

// rows returns the cells of all table rows without headers.
func rows(text string) [][]string {
	var all [][]string
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		isHeader := i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|-")
		if !strings.HasPrefix(line, "| ") || isHeader {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), " |")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		all = append(all, cells)
	}
	return all
}

func TestMetricsAreDocumented(t *testing.T) {
	registry := prometheus.NewRegistry()
	_, err := metrics.New(registry, metrics.Options{
		Rollouts:       func() map[v1beta1.Phase]int { return nil },
		Waiting:        func() map[v1beta1.TrialWait]int { return nil },
		FailureReasons: append(pods.Reasons(), knative.FailureReasons()...),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := metricsource.NewMetrics(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	inCode := map[string]bool{}
	for _, family := range families {
		inCode[family.GetName()] = true
	}

	operations := read(t, "docs/operations.md")
	documented := map[string]bool{}
	for _, row := range rows(section(t, operations, "Metrics")) {
		documented[strings.Trim(row[0], "`")] = true
	}
	if !maps.Equal(documented, inCode) {
		t.Errorf("docs/operations.md documents the metrics %v, and the code defines %v",
			slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(inCode)))
	}
	parts := regexp.MustCompile(`_(bucket|sum|count)$`)
	for name, text := range documents(t) {
		for _, used := range regexp.MustCompile(`\bserinus_[a-z_]+`).FindAllString(text, -1) {
			if !inCode[used] && !inCode[parts.ReplaceAllString(used, "")] {
				t.Errorf("%s uses the metric %s, which does not exist", name, used)
			}
		}
	}
}

func TestPresetsAreDocumented(t *testing.T) {
	presets, err := metricsource.NewPresets()
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(read(t, "docs/policies.md"), "\n### Presets\n")
	table, _, _ = strings.Cut(table, "\n### ")
	var documented []string
	for _, row := range rows(table) {
		name := strings.Trim(row[0], "`")
		documented = append(documented, name)
		if hasLatency := presets[name].Latency != nil; (row[2] == "yes") != hasLatency {
			t.Errorf("docs/policies.md says %q about the latency of the preset %s; it is %v", row[2], name, hasLatency)
		}
	}
	slices.Sort(documented)
	if !slices.Equal(documented, presets.Names()) {
		t.Errorf("docs/policies.md documents the presets %v, and the code defines %v", documented, presets.Names())
	}
}

func TestConfigurationKeysAreDocumented(t *testing.T) {
	data, err := json.Marshal(config.Default())
	if err != nil {
		t.Fatal(err)
	}
	var defaults map[string]any
	if err := json.Unmarshal(data, &defaults); err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range rows(section(t, read(t, "docs/operations.md"), "Configuration")) {
		for _, span := range codeSpan.FindAllStringSubmatch(row[0], -1) {
			documented[span[1]] = row[1]
		}
	}
	keys := keysOf(reflect.TypeFor[config.Config](), "")
	for _, key := range keys {
		cell, found := documented[key]
		if !found {
			t.Errorf("docs/operations.md does not document the key %s", key)
		} else if value := defaultOf(defaults, key); value != "" && !documentsValue(cell, value) {
			t.Errorf("docs/operations.md says that the default of %s is %s; it is %s", key, cell, value)
		}
	}
	for key := range documented {
		if !slices.Contains(keys, key) {
			t.Errorf("docs/operations.md documents the key %s, which does not exist", key)
		}
	}
}

// keysOf returns the dotted keys of the configuration that have a value.
func keysOf(kind reflect.Type, prefix string) []string {
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	hasOwnFormat := reflect.PointerTo(kind).Implements(reflect.TypeFor[json.Unmarshaler]())
	if kind.Kind() != reflect.Struct || hasOwnFormat {
		return []string{strings.TrimSuffix(prefix, ".")}
	}
	var keys []string
	for field := range kind.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		keys = append(keys, keysOf(field.Type, prefix+name+".")...)
	}
	return keys
}

// defaultOf returns the default of a key if it is a string, a number or a boolean.
func defaultOf(defaults map[string]any, key string) string {
	var value any = defaults
	for part := range strings.SplitSeq(key, ".") {
		within, _ := value.(map[string]any)
		value = within[part]
	}
	switch value := value.(type) {
	case string:
		return value
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(value)
	default:
		return ""
	}
}

// documentsValue reports whether a cell has the value. Durations may be spelled differently.
func documentsValue(cell, value string) bool {
	want, err := time.ParseDuration(value)
	for _, span := range codeSpan.FindAllStringSubmatch(cell, -1) {
		got, gotErr := time.ParseDuration(span[1])
		if span[1] == value || err == nil && gotErr == nil && got == want {
			return true
		}
	}
	return false
}

func TestAnnotationsAreDocumented(t *testing.T) {
	text := read(t, "docs/kserve-compatibility.md")
	for name, value := range stringConstants(t, filepath.Join(root, "api", "v1beta1", "annotations.go")) {
		if strings.HasPrefix(name, "Annotation") && !strings.Contains(text, "`"+value+"`") {
			t.Errorf("docs/kserve-compatibility.md does not document the annotation %s", value)
		}
	}
}

// TestPropagationIsDocumented compares the labels and annotations that do not reach the pods.
func TestPropagationIsDocumented(t *testing.T) {
	file := filepath.Join(root, "internal", "predictor", "propagation.go")
	names := stringConstants(t, filepath.Join(root, "api", "v1beta1", "annotations.go"))
	maps.Copy(names, stringConstants(t, file))
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	inCode := map[string]bool{}
	ast.Inspect(parsed, func(node ast.Node) bool {
		if _, function := node.(*ast.FuncDecl); function {
			return false
		}
		list, ok := node.(*ast.CompositeLit)
		if !ok {
			return true
		}
		if kind, ok := list.Type.(*ast.ArrayType); !ok || kind.Elt.(*ast.Ident).Name != "string" {
			return true
		}
		for _, element := range list.Elts {
			switch element := element.(type) {
			case *ast.BasicLit:
				inCode[strings.Trim(element.Value, `"`)] = true
			case *ast.Ident:
				inCode[names[element.Name]] = true
			case *ast.SelectorExpr:
				inCode[names[element.Sel.Name]] = true
			}
		}
		return false
	})

	documented := map[string]bool{}
	_, list, _ := strings.Cut(read(t, "docs/concepts.md"), "never reach the pods")
	list, _, _ = strings.Cut(list, "\n| the administrator's")
	for _, row := range rows(list) {
		for _, span := range codeSpan.FindAllStringSubmatch(row[1], -1) {
			documented[span[1]] = true
		}
	}
	if len(inCode) < 20 || !maps.Equal(documented, inCode) {
		t.Errorf("docs/concepts.md lists as not propagated:\n%v\nthe code lists:\n%v",
			slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(inCode)))
	}
}

func TestRolloutStateIsDocumented(t *testing.T) {
	var documented []string
	for _, row := range rows(section(t, read(t, "docs/concepts.md"), "The rollout state")) {
		for _, span := range codeSpan.FindAllStringSubmatch(row[0], -1) {
			documented = append(documented, span[1])
		}
	}
	var inCode []string
	for field := range reflect.TypeFor[rollout.State]().Fields() {
		if !field.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		inCode = append(inCode, name)
	}
	slices.Sort(documented)
	slices.Sort(inCode)
	if !slices.Equal(documented, inCode) {
		t.Errorf("docs/concepts.md documents the fields %v of the rollout state, and the code has %v", documented, inCode)
	}
}

// TestSplitTableMatchesTheCode compares the table of splits with the package comment of
// internal/rollout.
func TestSplitTableMatchesTheCode(t *testing.T) {
	inCode := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^//\s+(\d+b?) {2}(\S.*)$`).FindAllStringSubmatch(read(t, "internal/rollout/doc.go"), -1) {
		inCode[match[1]] = match[2]
	}
	if len(inCode) == 0 {
		t.Fatal("the package comment of internal/rollout has no table")
	}
	documented := map[string]bool{}
	splits := regexp.MustCompile(`\d+:\d+( \d+:\d+)?`)
	for _, row := range rows(section(t, read(t, "docs/concepts.md"), "The split")) {
		documented[row[0]] = true
		for _, split := range splits.FindAllString(row[2], -1) {
			if !strings.Contains(inCode[row[0]], split) {
				t.Errorf("docs/concepts.md says %s in row %s; the code says %q", split, row[0], inCode[row[0]])
			}
		}
	}
	for number := range inCode {
		if !documented[number] {
			t.Errorf("docs/concepts.md lacks row %s", number)
		}
	}
}

// TestBenchmarkLimitsAreMet checks that the published figures are of a run at both sizes that met
// every limit.
func TestBenchmarkLimitsAreMet(t *testing.T) {
	met := map[string]bool{}
	summary, _, _ := strings.Cut(read(t, "docs/benchmark.md"), "\n## ")
	for _, row := range rows(summary) {
		if len(row) < 4 || row[2] == "" || row[2] == "limit" {
			continue
		}
		if row[3] != "ok" {
			t.Errorf("%s: measured %s, limit %s: %q", row[0], row[1], row[2], row[3])
		}
		met[row[0]] = true
	}
	for _, name := range []string{"ratio", "at 1,000: resident memory, settled", "at 5,000: resident memory, settled", "at 5,000: a change of percent"} {
		if !met[name] {
			t.Errorf("docs/benchmark.md does not measure %q against a limit", name)
		}
	}
}

// TestTrafficScenariosPassed checks that all scenarios are published and passed.
func TestTrafficScenariosPassed(t *testing.T) {
	scenarios := 0
	for _, row := range rows(read(t, "docs/traffic.md")) {
		if len(row) < 8 || row[0] == "scenario" || strings.HasPrefix(row[0], "**all") {
			continue
		}
		if row[7] != "ok" || row[5] != "0" {
			t.Errorf("%s: %s requests to rejected revisions, %q", row[0], row[5], row[7])
		}
		scenarios++
	}
	const minScenarios = 55
	if scenarios < minScenarios {
		t.Errorf("docs/traffic.md lists %d scenarios, want at least %d", scenarios, minScenarios)
	}
}

// TestWalkthroughMatchesTheDemo checks that `make demo` covers the commands of the README.
func TestWalkthroughMatchesTheDemo(t *testing.T) {
	demo := read(t, "test/cluster/internal/demo/walkthrough.md")
	blocks := fence.FindAllStringSubmatch(section(t, read(t, "README.md"), "Walkthrough"), -1)
	if len(blocks) < 10 {
		t.Fatalf("the walkthrough of the README has %d blocks", len(blocks))
	}
	for _, block := range blocks {
		if body := block[2]; !strings.HasPrefix(body, "curl ") && !strings.Contains(demo, "\n"+body+"\n```") {
			t.Errorf("make demo does not check:\n%s", body)
		}
	}
}
