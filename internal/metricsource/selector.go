// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	nameLabel = "__name__"

	namespacePlaceholder = "$namespace"
	revisionPlaceholder  = "$revision"
	podsPlaceholder      = "$pods"
)

type operator string

const (
	equal        operator = "="
	notEqual     operator = "!="
	matches      operator = "=~"
	doesNotMatch operator = "!~"
)

type matcher struct {
	label string
	op    operator
	value string
}

func (m matcher) isRegexp() bool { return m.op == matches || m.op == doesNotMatch }

func (m matcher) namesRevision() bool {
	return strings.Contains(m.value, revisionPlaceholder) || strings.Contains(m.value, podsPlaceholder)
}

// String returns the matcher in PromQL. PromQL and Go escape strings alike.
func (m matcher) String() string { return m.label + string(m.op) + strconv.Quote(m.value) }

// selector is a PromQL vector selector. Its matchers are sorted and include the metric's name.
type selector []matcher

func newSelector(matchers []matcher) selector {
	slices.SortFunc(matchers, func(a, b matcher) int {
		return cmp.Or(cmp.Compare(a.label, b.label), cmp.Compare(a.op, b.op), cmp.Compare(a.value, b.value))
	})
	return slices.Compact(matchers)
}

var (
	metricNameToken  = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*`)
	labelNameToken   = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*`)
	operatorToken    = regexp.MustCompile(`^(=~|!~|!=|=)`)
	stringToken      = regexp.MustCompile("^(\"([^\"\\\\\n]|\\\\.)*\"|'([^'\\\\\n]|\\\\.)*'|`[^`]*`)")
	placeholderToken = regexp.MustCompile(`\$[a-zA-Z_][a-zA-Z0-9_]*`)
)

// parseSelector parses a PromQL vector selector, such as `requests_total{code=~"5.."}`. It accepts
// nothing else of PromQL, so that the result can be extended and used with a range.
func parseSelector(text string) (selector, error) {
	s, err := (&parser{rest: text}).selector()
	if err != nil {
		return nil, fmt.Errorf("selector %q: %w", text, err)
	}
	for _, m := range s {
		if err := m.validate(); err != nil {
			return nil, fmt.Errorf("selector %q: label %s: %w", text, m.label, err)
		}
	}
	return s, nil
}

type parser struct{ rest string }

func (p *parser) next(token *regexp.Regexp) string {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	found := token.FindString(p.rest)
	p.rest = p.rest[len(found):]
	return found
}

func (p *parser) skip(token string) bool {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	rest, found := strings.CutPrefix(p.rest, token)
	p.rest = rest
	return found
}

func (p *parser) selector() (selector, error) {
	var matchers []matcher
	if name := p.next(metricNameToken); name != "" {
		matchers = append(matchers, matcher{label: nameLabel, op: equal, value: name})
	}
	if p.skip("{") {
		for !p.skip("}") {
			m, err := p.matcher()
			if err != nil {
				return nil, err
			}
			matchers = append(matchers, m)
			if !p.skip(",") {
				if !p.skip("}") {
					return nil, fmt.Errorf("expected a comma or a closing brace before %q", p.rest)
				}
				break
			}
		}
	}
	if p.skip(""); p.rest != "" {
		return nil, fmt.Errorf("unexpected %q; write a metric name with label matchers, without functions and ranges", p.rest)
	}
	if !slices.ContainsFunc(matchers, func(m matcher) bool { return m.label == nameLabel }) {
		return nil, errors.New("it has no metric name")
	}
	return newSelector(matchers), nil
}

func (p *parser) matcher() (matcher, error) {
	label := p.next(labelNameToken)
	if label == "" {
		return matcher{}, fmt.Errorf("expected a label name before %q", p.rest)
	}
	op := p.next(operatorToken)
	if op == "" {
		return matcher{}, fmt.Errorf("label %s: expected =, !=, =~ or !~ before %q", label, p.rest)
	}
	quoted := p.next(stringToken)
	if quoted == "" {
		return matcher{}, fmt.Errorf("label %s: expected a quoted value before %q", label, p.rest)
	}
	value, err := unquote(quoted)
	if err != nil {
		return matcher{}, fmt.Errorf("label %s: the value %s is not a valid string", label, quoted)
	}
	return matcher{label: label, op: operator(op), value: value}, nil
}

func unquote(quoted string) (string, error) {
	if quoted[0] == '\'' {
		inner := strings.ReplaceAll(quoted[1:len(quoted)-1], `\'`, `'`)
		quoted = `"` + strings.ReplaceAll(inner, `"`, `\"`) + `"`
	}
	return strconv.Unquote(quoted)
}

func (m matcher) validate() error {
	for _, placeholder := range placeholderToken.FindAllString(m.value, -1) {
		switch placeholder {
		case namespacePlaceholder, revisionPlaceholder:
		case podsPlaceholder:
			if !m.isRegexp() {
				return errors.New("$pods is a regular expression and needs =~")
			}
		default:
			return fmt.Errorf("%s is no placeholder; the placeholders are $namespace, $revision and $pods", placeholder)
		}
	}
	if m.namesRevision() && m.op != equal && m.op != matches {
		return errors.New("$revision and $pods need = or =~")
	}
	if m.isRegexp() {
		if _, err := regexp.Compile(m.expand("x", "x", "y").value); err != nil {
			return fmt.Errorf("the value is no regular expression: %w", err)
		}
	}
	return nil
}

// expand replaces the placeholders of the matcher. The result selects the series of all revisions.
func (m matcher) expand(namespace string, revisions ...string) matcher {
	if !m.namesRevision() {
		m.value = m.replace(namespace, "")
		return m
	}
	if len(revisions) == 1 {
		m.value = m.replace(namespace, revisions[0])
		return m
	}
	alternatives := make([]string, 0, len(revisions))
	for _, revision := range revisions {
		value := m.replace(namespace, revision)
		if m.op == equal {
			value = regexp.QuoteMeta(value)
		}
		alternatives = append(alternatives, "(?:"+value+")")
	}
	return matcher{label: m.label, op: matches, value: strings.Join(alternatives, "|")}
}

// replace returns the value for one revision. A regular expression gets quoted values, so that they
// match only themselves.
func (m matcher) replace(namespace, revision string) string {
	quote := func(value string) string { return value }
	if m.isRegexp() {
		quote = regexp.QuoteMeta
	}
	return placeholderToken.ReplaceAllStringFunc(m.value, func(placeholder string) string {
		switch placeholder {
		case namespacePlaceholder:
			return quote(namespace)
		case revisionPlaceholder:
			return quote(revision)
		default:
			return quote(revision) + podsSuffix
		}
	})
}

// podsSuffix matches the rest of the name of a revision's pods, in both modes.
const podsSuffix = "-deployment-.*"

func (s selector) expand(namespace string, revisions ...string) selector {
	expanded := make([]matcher, 0, len(s))
	for _, m := range s {
		expanded = append(expanded, m.expand(namespace, revisions...))
	}
	return newSelector(expanded)
}

func (s selector) namesRevision() bool { return slices.ContainsFunc(s, matcher.namesRevision) }

func (s selector) contains(placeholder string) bool {
	return slices.ContainsFunc(s, func(m matcher) bool { return strings.Contains(m.value, placeholder) })
}

// with returns the selector with another matcher.
func (s selector) with(m matcher) selector { return newSelector(append(slices.Clone(s), m)) }

// covers reports whether each series of the other selector is also a series of this one. It only
// compares the matchers, so it may miss a case.
func (s selector) covers(other selector) bool {
	return !slices.ContainsFunc(s, func(m matcher) bool { return !slices.Contains(other, m) })
}

// name returns the metric's name if the selector selects a single one, and the other matchers.
func (s selector) name() (name string, rest selector, ok bool) {
	for i, m := range s {
		if m.label == nameLabel && m.op == equal {
			return m.value, slices.Concat(s[:i], s[i+1:]), true
		}
	}
	return "", nil, false
}

// String returns the selector in PromQL.
func (s selector) String() string {
	name, rest, ok := s.name()
	if !ok {
		rest = s
	}
	matchers := make([]string, 0, len(rest))
	for _, m := range rest {
		matchers = append(matchers, m.String())
	}
	if ok && len(matchers) == 0 {
		return name
	}
	return name + "{" + strings.Join(matchers, ",") + "}"
}

// union returns few selectors that together select all series of the given ones. Selectors that
// differ only in the metric's name become one.
func union(selectors []selector) []selector {
	var result []selector
	names := map[string]map[string]bool{}
	rests := map[string]selector{}
	for i, s := range selectors {
		covered := slices.ContainsFunc(selectors[:i], func(other selector) bool { return other.covers(s) }) ||
			slices.ContainsFunc(selectors[i+1:], func(other selector) bool { return other.covers(s) && !s.covers(other) })
		if covered {
			continue
		}
		name, rest, ok := s.name()
		if !ok {
			result = append(result, s)
			continue
		}
		key := rest.String()
		if names[key] == nil {
			names[key] = map[string]bool{}
		}
		names[key][name] = true
		rests[key] = rest
	}
	for _, key := range slices.Sorted(maps.Keys(names)) {
		all := slices.Sorted(maps.Keys(names[key]))
		m := matcher{label: nameLabel, op: equal, value: all[0]}
		if len(all) > 1 {
			// Metric names contain nothing to escape.
			m = matcher{label: nameLabel, op: matches, value: strings.Join(all, "|")}
		}
		result = append(result, rests[key].with(m))
	}
	return result
}

// filter is a compiled selector without placeholders.
type filter []func(labels map[string]string) bool

func (s selector) compile() (filter, error) {
	f := make(filter, 0, len(s))
	for _, m := range s {
		want := m.op == equal || m.op == matches
		if !m.isRegexp() {
			f = append(f, func(labels map[string]string) bool { return (labels[m.label] == m.value) == want })
			continue
		}
		expression, err := regexp.Compile("^(?s:" + m.value + ")$")
		if err != nil {
			return nil, fmt.Errorf("label %s: %w", m.label, err)
		}
		f = append(f, func(labels map[string]string) bool { return expression.MatchString(labels[m.label]) == want })
	}
	return f, nil
}

func (f filter) selects(labels map[string]string) bool {
	for _, match := range f {
		if !match(labels) {
			return false
		}
	}
	return true
}
