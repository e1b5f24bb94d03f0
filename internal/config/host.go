// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// HostTemplate is a template for host names. It supports placeholders such as {{.Name}}, but no
// other template syntax. So if it parses, it can be filled in for every InferenceService.
type HostTemplate struct {
	text  string
	parts []string
}

var placeholder = regexp.MustCompile(`{{\s*\.([A-Za-z]+)\s*}}`)

// ParseHostTemplate parses a template. Its placeholders may be {{.Name}}, {{.Namespace}},
// {{.Domain}} and {{.Tag}}.
func ParseHostTemplate(text string) (HostTemplate, error) {
	t := HostTemplate{text: text}
	end := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		t.parts = append(t.parts, text[end:m[0]], text[m[2]:m[3]])
		end = m[1]
	}
	t.parts = append(t.parts, text[end:])

	for i, part := range t.parts {
		if i%2 == 0 && strings.ContainsAny(part, "{}") {
			return HostTemplate{}, fmt.Errorf("%q is not a host template: near %q; write text and placeholders such as {{.Name}}", text, part)
		}
		if i%2 == 1 && !slices.Contains([]string{"Name", "Namespace", "Domain", "Tag"}, part) {
			return HostTemplate{}, fmt.Errorf("%q has the unknown placeholder {{.%s}}; the known ones are {{.Name}}, {{.Namespace}}, {{.Domain}} and, for tags, {{.Tag}}", text, part)
		}
	}
	return t, nil
}

func mustParseHostTemplate(text string) HostTemplate {
	t, err := ParseHostTemplate(text)
	if err != nil {
		panic(err)
	}
	return t
}

// String returns the template's text.
func (t HostTemplate) String() string { return t.text }

// Equal reports whether both templates have the same text.
func (t HostTemplate) Equal(other HostTemplate) bool { return t.text == other.text }

// MarshalJSON returns the template's text as a JSON string.
func (t HostTemplate) MarshalJSON() ([]byte, error) { return json.Marshal(t.text) }

// UnmarshalJSON parses a template in a JSON string.
func (t *HostTemplate) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("%s is not a host template; write a string in quotes", data)
	}
	parsed, err := ParseHostTemplate(text)
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}

func (t HostTemplate) uses(placeholder string) bool {
	for i := 1; i < len(t.parts); i += 2 {
		if t.parts[i] == placeholder {
			return true
		}
	}
	return false
}

type hostValues struct{ tag, name, namespace, domain string }

func (t HostTemplate) fill(v hostValues) string {
	var host strings.Builder
	for i, part := range t.parts {
		switch {
		case i%2 == 0:
			host.WriteString(part)
		case part == "Tag":
			host.WriteString(v.tag)
		case part == "Name":
			host.WriteString(v.name)
		case part == "Namespace":
			host.WriteString(v.namespace)
		case part == "Domain":
			host.WriteString(v.domain)
		}
	}
	return host.String()
}

// Host returns the host of an InferenceService. For the name <inferenceservice>-predictor, it
// returns the host of the predictor.
func (i Ingress) Host(name, namespace string) string {
	return i.HostTemplate.fill(hostValues{name: name, namespace: namespace, domain: i.Domain})
}

// TagHost returns the host of a tagged revision. The name is the predictor's,
// <inferenceservice>-predictor.
func (i Ingress) TagHost(tag, name, namespace string) string {
	return i.TagHostTemplate.fill(hostValues{tag: tag, name: name, namespace: namespace, domain: i.Domain})
}

// ClusterHost returns the DNS name of a Service in the cluster.
func (i Ingress) ClusterHost(service, namespace string) string {
	return service + "." + namespace + ".svc." + i.ClusterDomain
}

// URL returns the URL of a host.
func (i Ingress) URL(host string) string { return i.URLScheme + "://" + host }

// CheckHost returns an error if a host is invalid. [Load] checks the templates, but whether a host
// is too long for DNS depends on the names of the InferenceService.
func CheckHost(host string) error {
	for label := range strings.SplitSeq(host, ".") {
		switch {
		case len(label) > validation.DNS1123LabelMaxLength:
			return fmt.Errorf("%q cannot be a host: its part %q has %d characters, and DNS allows %d",
				host, label, len(label), validation.DNS1123LabelMaxLength)
		case len(validation.IsDNS1123Label(label)) > 0:
			return fmt.Errorf("%q cannot be a host: its part %q must consist of lower-case letters, digits and inner dashes", host, label)
		}
	}
	if len(host) > validation.DNS1123SubdomainMaxLength {
		return fmt.Errorf("%q cannot be a host: it has %d characters, and DNS allows %d", host, len(host), validation.DNS1123SubdomainMaxLength)
	}
	return nil
}
