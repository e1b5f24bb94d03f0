// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var iris = Revisions{Namespace: "models", Stable: "iris-predictor-00001", Canary: "iris-predictor-00002"}

func mustPresets(t *testing.T, configured ...Preset) Presets {
	t.Helper()
	presets, err := NewPresets(configured...)
	if err != nil {
		t.Fatal(err)
	}
	return presets
}

type scraped struct {
	labels map[string]string
	value  float64
}

// exposition reads a file in Prometheus' text format and adds the labels of the scrape.
func exposition(t *testing.T, file string, target map[string]string) []scraped {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "exposition", file+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []scraped
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		series, number, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if number == "" {
			series, number, _ = strings.Cut(strings.TrimSpace(line), " ")
		} else {
			series += "}"
		}
		parsed, err := parseSelector(series)
		if err != nil {
			t.Fatal(err)
		}
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			t.Fatal(err)
		}
		labels := maps.Clone(target)
		for _, m := range parsed {
			labels[m.label] = m.value
		}
		all = append(all, scraped{labels: labels, value: value})
	}
	return all
}

type counts struct{ Requests, Bad float64 }

func count(t *testing.T, counters Counters, all []scraped) (canary, stable counts, queries []string) {
	t.Helper()
	p, err := counters.plan(iris)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		series, relevant, err := p.classify(one.labels)
		if err != nil {
			t.Fatal(err)
		}
		if !relevant {
			continue
		}
		of := &stable
		if series.Canary {
			of = &canary
		}
		of.Requests += series.Requests * one.value
		of.Bad += series.Bad * one.value
	}
	return canary, stable, p.queries
}

func TestPresetsCount(t *testing.T) {
	pods := map[string]bool{"knative": true, "mlserver": true, "kserve": true, "vllm": true, "triton": true, "tfserving": true}
	for file, tt := range map[string]struct {
		preset, le            string
		canary, stable        counts
		canarySlow, canaryAll float64
	}{
		"knative":       {preset: "knative", le: "0.1", canary: counts{100, 3}, stable: counts{100, 3}, canaryAll: 100, canarySlow: 17},
		"traefik-3.6":   {preset: "traefik", le: "0.1", canary: counts{100, 3}, stable: counts{901, 1}, canaryAll: 97, canarySlow: 7},
		"traefik-3.7":   {preset: "traefik", le: "0.1", canary: counts{100, 3}, stable: counts{901, 1}, canaryAll: 97, canarySlow: 7},
		"istio":         {preset: "istio", le: "100.0", canary: counts{100, 3}, stable: counts{901, 1}, canaryAll: 97, canarySlow: 7},
		"linkerd":       {preset: "linkerd", le: "0.05", canary: counts{100, 3}, stable: counts{901, 1}, canaryAll: 97, canarySlow: 7},
		"envoy-gateway": {preset: "envoy-gateway", le: "100", canary: counts{100, 3}, stable: counts{901, 1}, canaryAll: 97, canarySlow: 7},
		"mlserver":      {preset: "mlserver", le: "0.1", canary: counts{100, 3}, stable: counts{100, 3}, canaryAll: 97, canarySlow: 7},
		"kserve":        {preset: "kserve", le: "0.1", canary: counts{100, 3}, stable: counts{100, 3}, canaryAll: 100, canarySlow: 10},
		"vllm":          {preset: "vllm", le: "0.3", canary: counts{100, 3}, stable: counts{100, 3}, canaryAll: 97, canarySlow: 7},
		"triton":        {preset: "triton", canary: counts{100, 3}, stable: counts{100, 3}},
		"tfserving":     {preset: "tfserving", le: "104857.6", canary: counts{100, 3}, stable: counts{100, 3}, canaryAll: 97, canarySlow: 7},
	} {
		t.Run(file, func(t *testing.T) {
			preset := mustPresets(t)[tt.preset]
			var all []scraped
			if pods[tt.preset] {
				for _, revision := range []string{iris.Stable, iris.Canary, "iris-predictor-00003"} {
					target := map[string]string{"namespace": "models", "pod": revision + "-deployment-5d4b9c6f7-x2x9z", "instance": revision}
					all = append(all, exposition(t, file, target)...)
				}
				all = append(all, exposition(t, file, map[string]string{"namespace": "other", "pod": iris.Canary + "-deployment-5d4b9c6f7-abcde"})...)
			} else {
				all = exposition(t, file, map[string]string{"namespace": "gateways", "pod": "gateway-7b8c9", "instance": "10.0.0.9:9100"})
			}
			canary, stable, queries := count(t, preset.Counters, all)
			if canary != tt.canary || stable != tt.stable {
				t.Errorf("counted %v and %v, want %v and %v", canary, stable, tt.canary, tt.stable)
			}
			if len(queries) != 1 {
				t.Errorf("needs the queries %q, want one", queries)
			}
			if tt.le == "" {
				if preset.Latency != nil {
					t.Error("the preset has an untested latency histogram")
				}
				return
			}
			slower, err := preset.Latency.SlowerThan(tt.le)
			if err != nil {
				t.Fatal(err)
			}
			canary, _, queries = count(t, slower, all)
			if want := (counts{tt.canaryAll, tt.canarySlow}); canary != want {
				t.Errorf("counted %v of the latency, want %v", canary, want)
			}
			if len(queries) != 1 {
				t.Errorf("the latency needs the queries %q, want one", queries)
			}
		})
	}
}

func TestQueryOfPreset(t *testing.T) {
	presets := mustPresets(t)
	slower, err := presets["istio"].Latency.SlowerThan("1000.0")
	if err != nil {
		t.Fatal(err)
	}
	for want, counters := range map[string]Counters{
		`http_server_request_duration_seconds_count{namespace="models",pod=~"(?:iris-predictor-00001-deployment-.*)|(?:iris-predictor-00002-deployment-.*)"}`: presets["knative"].Counters,
		`{__name__=~"request_postprocess_seconds_count|request_predict_seconds_count",namespace="models",` +
			`pod=~"(?:iris-predictor-00001-deployment-.*)|(?:iris-predictor-00002-deployment-.*)"}`: presets["kserve"].Counters,
		`{__name__=~"istio_request_duration_milliseconds_bucket|istio_request_duration_milliseconds_count",` +
			`destination_service_name=~"(?:iris-predictor-00001)|(?:iris-predictor-00002)",destination_service_namespace="models",` +
			`le=~"|1000|1000\\.0",reporter="source"}`: slower,
	} {
		p, err := counters.plan(iris)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{want}, p.queries); diff != "" {
			t.Errorf("wrong query (-want +got):\n%s", diff)
		}
	}
}

// Prometheus 2 stores the bound 1 as the software writes it, Prometheus 3 as 1.0.
func TestLatencyBoundsOfEachPrometheus(t *testing.T) {
	latency := mustPresets(t)["istio"].Latency
	for _, le := range []string{"1000", "1000.0", "1e3", "1e+03"} {
		slower, err := latency.SlowerThan(le)
		if err != nil {
			t.Fatal(err)
		}
		for stored, want := range map[string]float64{"1000": 80, "1000.0": 80, "2500": 100, "2500.0": 100} {
			var all []scraped
			for series, value := range map[string]float64{"count": 100, "bucket": 20} {
				labels := map[string]string{
					nameLabel: "istio_request_duration_milliseconds_" + series, "reporter": "source",
					"destination_service_name": iris.Canary, "destination_service_namespace": iris.Namespace,
				}
				if series == "bucket" {
					labels["le"] = stored
				}
				all = append(all, scraped{labels: labels, value: value})
			}
			canary, _, _ := count(t, slower, all)
			if canary != (counts{100, want}) {
				t.Errorf("bound %s, stored as %s: counted %v, want 100 with %v slower", le, stored, canary, want)
			}
		}
	}
}

func TestPlaceholdersCannotInject(t *testing.T) {
	counters := Counters{
		Total: []string{`a{ns="$namespace",r="$revision"}`},
		Bad:   []string{`a{ns="$namespace",r="$revision",pod=~"$pods"}`},
	}
	p, err := counters.plan(Revisions{Namespace: `x"} or secret{a="`, Stable: `.*`, Canary: `a|b"\`})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`a{ns="x\"} or secret{a=\"",r=~"(?:\\.\\*)|(?:a\\|b\"\\\\)"}`}
	if diff := cmp.Diff(want, p.queries); diff != "" {
		t.Errorf("wrong query (-want +got):\n%s", diff)
	}
	for pod, bad := range map[string]float64{".*-deployment-x": 1, "anything-deployment-x": 0} {
		labels := map[string]string{nameLabel: "a", "ns": `x"} or secret{a="`, "r": ".*", "pod": pod}
		series, relevant, err := p.classify(labels)
		if err != nil || !relevant || series.Bad != bad || series.Requests != 1 {
			t.Errorf("pod %s: got %+v, %t, %v", pod, series, relevant, err)
		}
	}
	if _, err := expandQuery(`max(x{pod=~"$pods"})`, Revisions{Namespace: "models", Canary: `a"}`}); err == nil {
		t.Error("a query with an invalid name was accepted")
	}
	query, err := expandQuery(`max(x{ns="$namespace",pod=~"$pods"} / on() y{r="$revision",z=~"a$"})`, iris)
	if want := `max(x{ns="models",pod=~"iris-predictor-00002-deployment-.*"} / on() y{r="iris-predictor-00002",z=~"a$"})`; err != nil || query != want {
		t.Errorf("got %s, %v; want %s", query, err, want)
	}
}

// Whatever the names contain, a selector stays one selector, and selects only their series.
func TestPlaceholdersMatchOnlyTheirValue(t *testing.T) {
	template, err := parseSelector(`a{ns="$namespace",svc=~"$namespace/$revision/.+",pod=~"$pods"}`)
	if err != nil {
		t.Fatal(err)
	}
	name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[-a-z."'\\${}()|*+?]{0,12}`))
	rapid.Check(t, func(t *rapid.T) {
		namespace, stable, canary := name.Draw(t, "namespace"), name.Draw(t, "stable"), name.Draw(t, "canary")
		expanded := template.expand(namespace, stable, canary)
		again, err := (&parser{rest: expanded.String()}).selector()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(expanded, again, cmp.AllowUnexported(matcher{})); diff != "" {
			t.Fatalf("the text is another selector (-want +got):\n%s", diff)
		}
		f, err := expanded.compile()
		if err != nil {
			t.Fatal(err)
		}
		for _, revision := range []string{stable, canary, name.Draw(t, "other")} {
			labels := map[string]string{nameLabel: "a", "ns": namespace, "svc": namespace + "/" + revision + "/80", "pod": revision + "-deployment-x"}
			if got, want := f.selects(labels), revision == stable || revision == canary; got != want {
				t.Fatalf("selects revision %q: %t, want %t", revision, got, want)
			}
		}
	})
}

func TestConfiguredPresets(t *testing.T) {
	corrected := mustPresets(t)["triton"]
	corrected.Bad = []string{`nv_inference_request_failure{namespace="$namespace",pod=~"$pods",reason!="CANCELED"}`}
	own := Preset{
		Name: "own", Controllers: []string{"example.com/gateway"},
		Counters: Counters{Total: []string{`a{n="$namespace",r="$revision"}`}, Bad: []string{`b{n="$namespace",r="$revision"}`}},
	}
	presets := mustPresets(t, corrected, own)
	if diff := cmp.Diff(corrected, presets["triton"]); diff != "" {
		t.Errorf("the preset was not replaced (-want +got):\n%s", diff)
	}
	names := []string{"envoy-gateway", "istio", "knative", "kserve", "linkerd", "mlserver", "own", "tfserving", "traefik", "triton", "vllm"}
	if diff := cmp.Diff(names, presets.Names()); diff != "" {
		t.Errorf("wrong presets (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		knative     bool
		controllers []string
		runtime     string
		want        []string
	}{
		{knative: true, controllers: []string{"traefik.io/gateway-controller"}, runtime: "kserve-mlserver", want: []string{"knative"}},
		{controllers: []string{"traefik.io/gateway-controller"}, runtime: "kserve-mlserver", want: []string{"traefik", "mlserver"}},
		{controllers: []string{"istio.io/gateway-controller"}, want: []string{"istio"}},
		{controllers: []string{"linkerd.io/policy-controller"}, runtime: "kserve-vllmserver", want: []string{"linkerd", "vllm"}},
		{controllers: []string{"gateway.envoyproxy.io/gatewayclass-controller"}, runtime: "custom", want: []string{"envoy-gateway"}},
		{controllers: []string{"example.com/gateway"}, runtime: "kserve-sklearnserver", want: []string{"own", "kserve"}},
		{controllers: []string{"example.com/unknown"}},
	} {
		var got []string
		for _, preset := range presets.Auto(tt.knative, tt.controllers, tt.runtime) {
			got = append(got, preset.Name)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v: wrong candidates (-want +got):\n%s", tt, diff)
		}
	}
}

func TestInvalidPresets(t *testing.T) {
	valid := `a{n="$namespace",r="$revision"}`
	for want, preset := range map[string]Preset{
		"it has no name":                      {Counters: Counters{Total: []string{valid}, Bad: []string{valid}}},
		"no selector of all requests":         {Name: "x", Counters: Counters{Bad: []string{valid}}},
		"no selector of the bad responses":    {Name: "x", Counters: Counters{Total: []string{valid}}},
		"add a label with $revision or $pods": {Name: "x", Counters: Counters{Total: []string{`a{n="$namespace"}`}, Bad: []string{valid}}},
		"add a label with $namespace":         {Name: "x", Counters: Counters{Total: []string{`a{r="$revision"}`}, Bad: []string{valid}}},
		"has no unit of its bounds":           {Name: "x", Counters: Counters{Total: []string{valid}, Bad: []string{valid}}, Latency: &Histogram{Bucket: valid, Count: valid}},
		"$revisions is no placeholder":        {Name: "x", Counters: Counters{Total: []string{`a{n="$namespace",r="$revisions"}`}, Bad: []string{valid}}},
		"$pods is a regular expression":       {Name: "x", Counters: Counters{Total: []string{`a{n="$namespace",r="$pods"}`}, Bad: []string{valid}}},
		"$revision and $pods need = or =~":    {Name: "x", Counters: Counters{Total: []string{`a{n="$namespace",r!="$revision"}`}, Bad: []string{valid}}},
		"is no regular expression":            {Name: "x", Counters: Counters{Total: []string{`a{n="$namespace",r=~"$revision("}`}, Bad: []string{valid}}},
		"without functions and ranges":        {Name: "x", Counters: Counters{Total: []string{`sum(a{n="$namespace",r="$revision"})`}, Bad: []string{valid}}},
		"it has no metric name":               {Name: "x", Counters: Counters{Total: []string{`{n="$namespace",r="$revision"}`}, Bad: []string{valid}}},
		"expected a comma or a closing brace": {Name: "x", Counters: Counters{Total: []string{`a{n="$namespace" r="$revision"}`}, Bad: []string{valid}}},
		`expected a quoted value before "1}"`: {Name: "x", Counters: Counters{Total: []string{`a{n=1}`}, Bad: []string{valid}}},
		`expected =, !=, =~ or !~ before`:     {Name: "x", Counters: Counters{Total: []string{`a{n>"1"}`}, Bad: []string{valid}}},
		"expected a label name before":        {Name: "x", Counters: Counters{Total: []string{`a{,n="1"}`}, Bad: []string{valid}}},
	} {
		if _, err := NewPresets(preset); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestSelectorSyntax(t *testing.T) {
	for text, want := range map[string]string{
		`a`:                           `a`,
		` a { } `:                     `a`,
		`a{b="c",}`:                   `a{b="c"}`,
		"a{b='c\"', d=`e\\.`}":        `a{b="c\"",d="e\\."}`,
		`a{d='it\'s',b!~"x|y"}`:       `a{b!~"x|y",d="it's"}`,
		`{__name__=~"a|b",c="d"}`:     `{__name__=~"a|b",c="d"}`,
		`{__name__="a",c="d",c="d"}`:  `a{c="d"}`,
		`:tensorflow:serving:a{b=""}`: `:tensorflow:serving:a{b=""}`,
	} {
		s, err := parseSelector(text)
		if err != nil || s.String() != want {
			t.Errorf("%s: got %s, %v; want %s", text, s, err, want)
		}
	}
}

func TestSeriesOfBothRevisions(t *testing.T) {
	selector := []string{`a{r=~"$revision.*"}`}
	p, err := Counters{Total: selector, Bad: selector}.plan(Revisions{Stable: "iris-1", Canary: "iris-12"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.classify(map[string]string{nameLabel: "a", "r": "iris-12"}); err == nil {
		t.Error("a series that matches both revisions was accepted")
	}
}
