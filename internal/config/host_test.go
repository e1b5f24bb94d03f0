// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"
)

func TestHosts(t *testing.T) {
	ingress := Default().Ingress
	tests := map[string]struct{ got, want string }{
		"inference service": {ingress.Host("sklearn-iris", "kserve-test"), "sklearn-iris.kserve-test.example.com"},
		"predictor":         {ingress.Host("sklearn-iris-predictor", "kserve-test"), "sklearn-iris-predictor.kserve-test.example.com"},
		"tag":               {ingress.TagHost("latest", "sklearn-iris-predictor", "kserve-test"), "latest-sklearn-iris-predictor.kserve-test.example.com"},
		"in the cluster":    {ingress.ClusterHost("sklearn-iris", "kserve-test"), "sklearn-iris.kserve-test.svc.cluster.local"},
		"URL":               {ingress.URL("sklearn-iris.kserve-test.example.com"), "http://sklearn-iris.kserve-test.example.com"},
	}
	for name, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", name, tt.got, tt.want)
		}
	}
}

func TestHostTemplates(t *testing.T) {
	config, err := parse([]byte(head + `
ingress:
  domain: ml.example.org
  urlScheme: https
  clusterDomain: corp.local
  hostTemplate: "{{ .Name }}-{{ .Namespace }}.{{ .Domain }}"
  tagHostTemplate: "{{.Name}}-{{.Namespace}}.{{.Tag}}.{{.Domain}}"
`))
	if err != nil {
		t.Fatal(err)
	}
	ingress := config.Ingress
	if got, want := ingress.Host("a", "b"), "a-b.ml.example.org"; got != want {
		t.Errorf("host: got %q, want %q", got, want)
	}
	if got, want := ingress.TagHost("prev", "a-predictor", "b"), "a-predictor-b.prev.ml.example.org"; got != want {
		t.Errorf("tag host: got %q, want %q", got, want)
	}
	if got, want := ingress.ClusterHost("a", "b"), "a.b.svc.corp.local"; got != want {
		t.Errorf("host in the cluster: got %q, want %q", got, want)
	}
	if got, want := ingress.URL("a"), "https://a"; got != want {
		t.Errorf("URL: got %q, want %q", got, want)
	}
}

func TestValuesAreNotTemplates(t *testing.T) {
	if got, want := Default().Ingress.Host("{{.Domain}}", "b"), "{{.Domain}}.b.example.com"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheckHost(t *testing.T) {
	label := strings.Repeat("a", 63)
	tests := map[string]struct{ given, want string }{
		"good":          {"a.b-c.example.com", ""},
		"longest label": {label + ".b", ""},
		"long label":    {label + "a.b", `"` + label + `a.b" cannot be a host: its part "` + label + `a" has 64 characters, and DNS allows 63`},
		"upper case":    {"A.b", `"A.b" cannot be a host: its part "A" must consist of lower-case letters, digits and inner dashes`},
		"empty part":    {"a..b", `"a..b" cannot be a host: its part "" must consist of lower-case letters, digits and inner dashes`},
		"long host":     {strings.Repeat("a.", 127) + "a", `"` + strings.Repeat("a.", 127) + `a" cannot be a host: it has 255 characters, and DNS allows 253`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := CheckHost(tt.given); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// FuzzHostTemplate checks that a template that parses leaves no placeholder in the host.
func FuzzHostTemplate(f *testing.F) {
	f.Add("{{.Name}}.{{.Namespace}}.{{.Domain}}")
	f.Add("{{ .Tag }}-{{.Name}}")
	f.Add("{{{.Name}}}")
	f.Add("{{.Name}")
	f.Fuzz(func(t *testing.T, text string) {
		template, err := ParseHostTemplate(text)
		if err != nil {
			return
		}
		host := template.fill(hostValues{tag: "t", name: "n", namespace: "s", domain: "d"})
		if strings.ContainsAny(host, "{}") {
			t.Errorf("%q became %q", text, host)
		}
		again, err := ParseHostTemplate(template.String())
		if err != nil || !again.Equal(template) {
			t.Errorf("String() of %q does not parse to an equal template: %v", text, err)
		}
	})
}
