// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Preset says which series count the requests of a revision. The selectors contain $namespace, and
// $revision or $pods.
type Preset struct {
	Name string
	Counters
	// Latency is nil if the software has no latency histogram.
	Latency *Histogram
	// Controllers are the controllerNames of the GatewayClasses whose gateways have these series.
	Controllers []string
	// Runtimes are the names of the serving runtimes whose pods have these series.
	Runtimes []string
	// Hint says what is necessary for the series to exist. It is shown if they are missing.
	Hint string
}

// Counters are selectors of counters. Bad responses are the sum of Bad minus the sum of NotBad, and
// may briefly appear negative, because the counters of one request do not increase at once.
type Counters struct {
	Total, Bad, NotBad []string
}

// Histogram is a classic histogram of the response times of a revision.
type Histogram struct {
	Bucket, Count string
	// Unit is the unit of the bucket bounds.
	Unit time.Duration
}

const (
	podLabels   = `namespace="$namespace",pod=~"$pods"`
	linkerdName = `backend_namespace="$namespace",backend_name="$revision"`
	istioName   = `reporter="source",destination_service_namespace="$namespace",destination_service_name="$revision"`
	envoyName   = `envoy_cluster_name=~"service/$namespace/$revision/.+"`
	mlserver    = podLabels + `,path=~".*/infer|.*:predict"`
	// Traefik has the first form up to 3.7.5, and the second one since.
	traefikName = `service=~"$namespace-$revision-http-[0-9]+@kubernetesgateway` +
		`|httproute-$namespace-.+-svc-$namespace-$revision-[0-9]+@kubernetesgateway"`
)

func classicHistogram(name, labels string, unit time.Duration) *Histogram {
	return &Histogram{Bucket: name + "_bucket{" + labels + "}", Count: name + "_count{" + labels + "}", Unit: unit}
}

func builtinPresets() []Preset {
	return []Preset{
		{
			Name: "knative",
			Counters: Counters{
				Total: []string{`http_server_request_duration_seconds_count{` + podLabels + `}`},
				Bad:   []string{`http_server_request_duration_seconds_count{` + podLabels + `,http_response_status_code=~"5.."}`},
			},
			Latency: classicHistogram("http_server_request_duration_seconds", podLabels, time.Second),
			Hint: "queue-proxy must serve metrics, and Prometheus must scrape its port 9091: " +
				`kubectl patch configmap config-observability -n knative-serving --type=merge -p '{"data":{"request-metrics-protocol":"prometheus"}}'`,
		},
		{
			Name: "traefik",
			Counters: Counters{
				Total: []string{`traefik_service_requests_total{` + traefikName + `}`},
				Bad:   []string{`traefik_service_requests_total{` + traefikName + `,code=~"5.."}`},
			},
			Latency:     classicHistogram("traefik_service_request_duration_seconds", traefikName, time.Second),
			Controllers: []string{"traefik.io/gateway-controller"},
			Hint:        "Traefik needs --metrics.prometheus and --metrics.prometheus.addServicesLabels (the default)",
		},
		{
			Name: "istio",
			Counters: Counters{
				Total: []string{`istio_requests_total{` + istioName + `}`},
				Bad:   []string{`istio_requests_total{` + istioName + `,response_code=~"5..|0"}`},
			},
			Latency:     classicHistogram("istio_request_duration_milliseconds", istioName, time.Millisecond),
			Controllers: []string{"istio.io/gateway-controller"},
			Hint:        "Prometheus must scrape the proxies of the gateway",
		},
		{
			Name: "linkerd",
			Counters: Counters{
				Total: []string{`outbound_http_route_backend_response_statuses_total{` + linkerdName + `}`},
				// A request without a response has an empty status.
				Bad: []string{`outbound_http_route_backend_response_statuses_total{` + linkerdName + `,http_status=~"5..|"}`},
			},
			Latency:     classicHistogram("outbound_http_route_backend_response_duration_seconds", linkerdName, time.Second),
			Controllers: []string{"linkerd.io/policy-controller"},
			Hint:        "Prometheus must scrape the proxies of the clients",
		},
		{
			Name: "envoy-gateway",
			Counters: Counters{
				Total: []string{`envoy_cluster_upstream_rq_xx{` + envoyName + `}`},
				Bad:   []string{`envoy_cluster_upstream_rq_xx{` + envoyName + `,envoy_response_code_class="5"}`},
			},
			Latency:     classicHistogram("envoy_cluster_upstream_rq_time", envoyName, time.Millisecond),
			Controllers: []string{"gateway.envoyproxy.io/gatewayclass-controller"},
			Hint:        "Envoy Gateway counts per backend only with mergeBackends in its EnvoyProxy",
		},
		{
			Name: "mlserver",
			Counters: Counters{
				Total: []string{`rest_server_requests_total{` + mlserver + `}`},
				Bad:   []string{`rest_server_requests_total{` + mlserver + `,status_code=~"5.."}`},
			},
			Latency:  classicHistogram("rest_server_request_duration_seconds", mlserver, time.Second),
			Runtimes: []string{"kserve-mlserver"},
			Hint:     "Prometheus must scrape port 8082 of the pods",
		},
		{
			Name: "kserve",
			Counters: Counters{
				Total: []string{`request_predict_seconds_count{` + podLabels + `}`},
				// There is no counter of errors: a request that fails is not postprocessed.
				Bad:    []string{`request_predict_seconds_count{` + podLabels + `}`},
				NotBad: []string{`request_postprocess_seconds_count{` + podLabels + `}`},
			},
			Latency: classicHistogram("request_predict_seconds", podLabels, time.Second),
			Runtimes: []string{
				"kserve-sklearnserver", "kserve-xgbserver", "kserve-lgbserver", "kserve-pmmlserver", "kserve-paddleserver", "kserve-huggingfaceserver",
			},
			Hint: "Prometheus must scrape port 8080 of the pods",
		},
		{
			Name: "vllm",
			Counters: Counters{
				Total: []string{`http_requests_total{` + podLabels + `,handler=~"/v1/.+"}`},
				Bad:   []string{`http_requests_total{` + podLabels + `,handler=~"/v1/.+",status="5xx"}`},
			},
			Latency:  classicHistogram("vllm:e2e_request_latency_seconds", podLabels, time.Second),
			Runtimes: []string{"kserve-vllmserver"},
			Hint:     "Prometheus must scrape port 8080 of the pods",
		},
		{
			Name: "triton",
			Counters: Counters{
				Total: []string{`nv_inference_request_success{` + podLabels + `}`, `nv_inference_request_failure{` + podLabels + `}`},
				Bad:   []string{`nv_inference_request_failure{` + podLabels + `}`},
			},
			Runtimes: []string{"kserve-tritonserver"},
			Hint:     "Prometheus must scrape port 8002 of the pods",
		},
		{
			Name: "tfserving",
			Counters: Counters{
				Total: []string{`:tensorflow:serving:request_count{` + podLabels + `}`},
				Bad:   []string{`:tensorflow:serving:request_count{` + podLabels + `,status!~"OK|INVALID_ARGUMENT"}`},
			},
			Latency:  classicHistogram(":tensorflow:serving:request_latency", podLabels, time.Microsecond),
			Runtimes: []string{"kserve-tensorflow-serving"},
			Hint:     "TensorFlow Serving needs --monitoring_config_file, and Prometheus must scrape /monitoring/prometheus/metrics",
		},
	}
}

// Presets are the valid presets by name.
type Presets map[string]Preset

// NewPresets returns the built-in presets and the given ones, which replace built-in presets with
// the same name.
func NewPresets(configured ...Preset) (Presets, error) {
	presets := Presets{}
	var errs []error
	for _, p := range slices.Concat(builtinPresets(), configured) {
		if err := p.validate(); err != nil {
			errs = append(errs, fmt.Errorf("preset %q: %w", p.Name, err))
		}
		presets[p.Name] = p
	}
	return presets, errors.Join(errs...)
}

// Names returns the names of the presets, in order.
func (p Presets) Names() []string { return slices.Sorted(maps.Keys(p)) }

// Auto returns the presets that the source "auto" tries, in order: in Knative mode that of
// queue-proxy, otherwise that of the gateway and that of the serving runtime.
func (p Presets) Auto(knative bool, controllerNames []string, runtime string) []Preset {
	if knative {
		return []Preset{p["knative"]}
	}
	var gateways, runtimes []Preset
	for _, name := range p.Names() {
		preset := p[name]
		if slices.ContainsFunc(controllerNames, func(controller string) bool { return slices.Contains(preset.Controllers, controller) }) {
			gateways = append(gateways, preset)
		}
		if slices.Contains(preset.Runtimes, runtime) {
			runtimes = append(runtimes, preset)
		}
	}
	return slices.Concat(gateways, runtimes)
}

func (p Preset) validate() error {
	if p.Name == "" {
		return errors.New("it has no name")
	}
	errs := []error{p.Counters.validate(true)}
	if p.Latency != nil {
		errs = append(errs, p.Latency.validate())
	}
	return errors.Join(errs...)
}

// Validate reports what is wrong with counters that a policy names.
func (c Counters) Validate() error { return c.validate(false) }

func (c Counters) validate(preset bool) error {
	if len(c.Total) == 0 {
		return errors.New("it has no selector of all requests")
	}
	if len(c.Bad) == 0 {
		return errors.New("it has no selector of the bad responses")
	}
	var errs []error
	for _, text := range slices.Concat(c.Total, c.Bad, c.NotBad) {
		s, err := parseSelector(text)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !s.namesRevision():
			errs = append(errs, fmt.Errorf("selector %q: add a label with $revision or $pods, to tell the revisions apart", text))
		case preset && !s.contains(namespacePlaceholder):
			errs = append(errs, fmt.Errorf("selector %q: add a label with $namespace, to tell the namespaces apart", text))
		}
	}
	return errors.Join(errs...)
}

func (h Histogram) validate() error {
	if h.Unit <= 0 {
		return errors.New("the latency histogram has no unit of its bounds, such as 1s or 1ms")
	}
	return h.Buckets().validate(true)
}

// Buckets returns counters that read all buckets of the histogram, and nothing as bad. The bounds
// are in the label le of the series.
func (h Histogram) Buckets() Counters {
	return Counters{Total: []string{h.Bucket}, Bad: []string{h.Bucket}, NotBad: []string{h.Bucket}}
}

// SlowerThan returns counters of all responses and of those that are slower than a bucket's bound.
// le is the value of the bucket's label.
func (h Histogram) SlowerThan(le string) (Counters, error) {
	bucket, bucketErr := parseSelector(h.Bucket)
	count, countErr := parseSelector(h.Count)
	if err := errors.Join(bucketErr, countErr); err != nil {
		return Counters{}, err
	}
	bounds := matcher{label: "le", op: matches, value: spellings(le)}
	// The counter of all responses has no such label, and gets a matcher that is true without it.
	// With equal matchers, one query can read both.
	bounds.value = "|" + bounds.value
	all := count.with(bounds).String()
	return Counters{Total: []string{all}, Bad: []string{all}, NotBad: []string{bucket.with(bounds).String()}}, nil
}

// spellings returns a regular expression for a bucket bound. Prometheus 3 writes the bound 1 as 1.0,
// older ones as the software does.
func spellings(le string) string {
	all := []string{le}
	if value, err := strconv.ParseFloat(le, 64); err == nil {
		for _, format := range []byte{'g', 'f'} {
			text := strconv.FormatFloat(value, format, -1, 64)
			all = append(all, text)
			if !strings.ContainsAny(text, ".e") {
				all = append(all, text+".0")
			}
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for i, text := range all {
		all[i] = regexp.QuoteMeta(text)
	}
	return strings.Join(all, "|")
}
