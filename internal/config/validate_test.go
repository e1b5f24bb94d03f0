// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInvalidKeys(t *testing.T) {
	const (
		notADNSName = ` is not a DNS name; use lower-case letters, digits, inner dashes and dots, at most 253 characters`
		notAName    = ` is not a name; use lower-case letters, digits and inner dashes, at most 63 characters`
	)
	tests := map[string]struct {
		given string
		want  []string
	}{
		"unknown key": {
			given: `rollout: {drainPerod: 30s}`,
			want:  []string{`rollout.drainPerod: unknown key; known keys are capacityHold, drainPeriod, progressDeadline, revisionHistoryLimit, settlePeriod`},
		},
		"unknown key of an optional block": {
			given: `ingress: {localGateway: {service: {port: 80}}}`,
			want:  []string{`ingress.localGateway.service.port: unknown key; known keys are name, namespace`},
		},
		"key in the wrong case": {
			given: `credentials: {gcs: {GCSCredentialFileName: a}}`,
			want:  []string{`credentials.gcs.GCSCredentialFileName: unknown key; known keys are gcsCredentialFileName`},
		},
		"key given twice": {
			given: "health: {bindAddress: ':1'}\nhealth: {bindAddress: ':2'}",
			want:  []string{`not valid YAML: yaml: unmarshal errors:`, `  line 4: key "health" already set in map`},
		},
		"not YAML": {
			given: `rollout: [`,
			want:  []string{`not valid YAML: yaml: line 3: did not find expected node content`},
		},
		"second document": {
			given: "---\nrollout: {}",
			want:  []string{`has 2 YAML documents; write one`},
		},
		"text for a section": {
			given: `rollout: fast`,
			want:  []string{`rollout: "fast" is not a mapping of keys to values`},
		},
		"unknown mode": {
			given: `deploymentMode: RawDeployment`,
			want:  []string{`deploymentMode: "RawDeployment" is not supported; write Standard or Knative`},
		},

		"duration with an unknown unit": {
			given: `rollout: {drainPeriod: "3x"}`,
			want:  []string{`rollout.drainPeriod: "3x" is not a duration; write e.g. 30s`},
		},
		"duration without a unit": {
			given: `rollout: {drainPeriod: 30}`,
			want:  []string{`rollout.drainPeriod: 30 is not a duration; write e.g. 30s`},
		},
		"durations below their minimum": {
			given: `rollout: {drainPeriod: -1s, settlePeriod: -1s, capacityHold: -1s, progressDeadline: 0s}`,
			want: []string{
				`rollout.drainPeriod: -1s is too short; write 0s or more`,
				`rollout.settlePeriod: -1s is too short; write 0s or more`,
				`rollout.capacityHold: -1s is too short; write 0s or more`,
				`rollout.progressDeadline: 0s is too short; write 1s or more`,
			},
		},
		"request timeout below 0": {
			given: `ingress: {requestTimeout: -1s}`,
			want:  []string{`ingress.requestTimeout: -1s is too short; write 0s or more`},
		},
		"request timeout of half a second": {
			given: `ingress: {requestTimeout: 500ms}`,
			want:  []string{`ingress.requestTimeout: 500ms is not a whole number of seconds; write e.g. 30s`},
		},
		"short history": {
			given: `rollout: {revisionHistoryLimit: 9}`,
			want:  []string{`rollout.revisionHistoryLimit: 9 is too few; write 10 or more`},
		},
		"number out of range": {
			given: `rollout: {revisionHistoryLimit: 3000000000}`,
			want:  []string{`rollout.revisionHistoryLimit: 3000000000 is not a whole number in the allowed range`},
		},

		"unknown scheme": {
			given: `ingress: {urlScheme: HTTP}`,
			want:  []string{`ingress.urlScheme: "HTTP" is not supported; write http or https`},
		},
		"number for a string": {
			given: `ingress: {domain: 5}`,
			want:  []string{`ingress.domain: 5 is not a string; put it in quotes`},
		},
		"invalid names": {
			given: `ingress: {domain: Example_com, clusterDomain: .local, gateway: {namespace: a.b, name: A, sectionName: _}}`,
			want: []string{
				`ingress.clusterDomain: ".local"` + notADNSName,
				`ingress.domain: "Example_com"` + notADNSName,
				`ingress.gateway.namespace: "a.b"` + notAName,
				`ingress.gateway.name: "A"` + notADNSName,
				`ingress.gateway.sectionName: "_"` + notADNSName,
			},
		},
		"local gateway without a service": {
			given: `ingress: {localGateway: {namespace: kserve, name: local}}`,
			want: []string{
				`ingress.localGateway.service.namespace: ""` + notAName,
				`ingress.localGateway.service.name: ""` + notAName,
			},
		},
		"template with a function": {
			given: `ingress: {hostTemplate: "{{ .Name | title }}.{{.Namespace}}.{{.Domain}}"}`,
			want:  []string{`ingress.hostTemplate: "{{ .Name | title }}.{{.Namespace}}.{{.Domain}}" is not a host template: near "{{ .Name | title }}."; write text and placeholders such as {{.Name}}`},
		},
		"template with an unknown placeholder": {
			given: `ingress: {hostTemplate: "{{.Name}}-{{.Namespace}}.{{.IngressDomain}}"}`,
			want:  []string{`ingress.hostTemplate: "{{.Name}}-{{.Namespace}}.{{.IngressDomain}}" has the unknown placeholder {{.IngressDomain}}; the known ones are {{.Name}}, {{.Namespace}}, {{.Domain}} and, for tags, {{.Tag}}`},
		},
		"template that is not a string": {
			given: `ingress: {hostTemplate: 5}`,
			want:  []string{`ingress.hostTemplate: 5 is not a host template; write a string in quotes`},
		},
		"templates with host collisions": {
			given: `ingress: {hostTemplate: "{{.Name}}.{{.Domain}}", tagHostTemplate: "{{.Name}}.{{.Namespace}}.{{.Domain}}"}`,
			want: []string{
				`ingress.hostTemplate: "{{.Name}}.{{.Domain}}" lacks {{.Namespace}}, without which different objects would share a host`,
				`ingress.tagHostTemplate: "{{.Name}}.{{.Namespace}}.{{.Domain}}" lacks {{.Tag}}, without which different objects would share a host`,
			},
		},
		"tag in the template of the main host": {
			given: `ingress: {hostTemplate: "{{.Name}}.a{{.Tag}}.{{.Namespace}}.{{.Domain}}"}`,
			want:  []string{`ingress.hostTemplate: "{{.Name}}.a{{.Tag}}.{{.Namespace}}.{{.Domain}}" has {{.Tag}}, which is allowed in ingress.tagHostTemplate only`},
		},
		"template without a valid DNS name": {
			given: `ingress: {hostTemplate: "{{.Name}}_{{.Namespace}}.{{.Domain}}"}`,
			want:  []string{`ingress.hostTemplate: "{{.Name}}_{{.Namespace}}.{{.Domain}}" does not produce valid DNS names: e.g. "sklearn-iris-predictor_kserve-test.example.com" cannot be a host: its part "sklearn-iris-predictor_kserve-test" must consist of lower-case letters, digits and inner dashes`},
		},

		"invalid keys": {
			given: `propagation: {excludedAnnotations: ["a b"], excludedLabels: [team, "*"]}`,
			want: []string{
				`propagation.excludedAnnotations[0]: "a b" is neither a key such as example.com/team nor a prefix such as example.com/*`,
				`propagation.excludedLabels[1]: "*" is neither a key such as example.com/team nor a prefix such as example.com/*`,
			},
		},
		"keys that configure the pods": {
			given: `{propagation: {excludedAnnotations: [example.com/team, "serving.kserve.io/*", serving.knative.dev/progress-deadline, example.com/secret]}, credentials: {storageSecretNameAnnotation: example.com/secret}}`,
			want: []string{
				`propagation.excludedAnnotations[1]: "serving.kserve.io/*" excludes the annotation serving.kserve.io/enable-prometheus-scraping, which configures the pods; list only the keys to exclude`,
				`propagation.excludedAnnotations[1]: "serving.kserve.io/*" excludes the annotation serving.kserve.io/gke-accelerator, which configures the pods; list only the keys to exclude`,
				`propagation.excludedAnnotations[1]: "serving.kserve.io/*" excludes the annotation serving.kserve.io/storage-initializer-uid, which configures the pods; list only the keys to exclude`,
				`propagation.excludedAnnotations[2]: "serving.knative.dev/progress-deadline" excludes the annotation serving.knative.dev/progress-deadline, which configures the pods; list only the keys to exclude`,
				`propagation.excludedAnnotations[3]: "example.com/secret" excludes the annotation example.com/secret, which configures the pods; list only the keys to exclude`,
			},
		},
		"text for a list": {
			given: `propagation: {excludedLabels: team}`,
			want:  []string{`propagation.excludedLabels: "team" is not a list of strings`},
		},
		"storage initializer": {
			given: `storageInitializer: {image: "", runAsUser: -1, env: {"A=B": x}}`,
			want: []string{
				`storageInitializer.image: "" is not the name of an image; write e.g. ghcr.io/serinus-io/storage-initializer:v0.1.0`,
				`storageInitializer.runAsUser: -1 is not a user; write 0 or more, or leave the key out`,
				`storageInitializer.env: "A=B" is not the name of an environment variable; write e.g. AWS_ENDPOINT_URL`,
			},
		},
		"user by name": {
			given: `storageInitializer: {runAsUser: nobody}`,
			want:  []string{`storageInitializer.runAsUser: "nobody" is not a whole number in the allowed range`},
		},
		"quantity": {
			given: `predictor: {resources: {limits: {memory: 2Gx}}}`,
			want:  []string{`predictor.resources.limits.memory: "2Gx" is not a quantity; write e.g. 500m or 2Gi`},
		},
		"resources": {
			given: `predictor: {resources: {requests: {cpu: 2, "a b": 1}, limits: {cpu: 1, memory: -1}}}`,
			want: []string{
				`predictor.resources.limits.memory: -1 is negative`,
				`predictor.resources.requests: "a b" is not the name of a resource; write e.g. cpu, memory or nvidia.com/gpu`,
				`predictor.resources.requests.cpu: 2 is more than the limit of 1`,
			},
		},
		"resource claims": {
			given: `predictor: {resources: {claims: []}}`,
			want:  []string{`predictor.resources.claims: unknown key; known keys are limits, requests`},
		},
		"credentials": {
			given: `credentials: {storageSpecSecretName: "", storageSecretNameAnnotation: "", gcs: {gcsCredentialFileName: a/b}, s3: {s3Endpoint: "https://minio:9000", s3UseHttps: "yes"}}`,
			want: []string{
				`credentials.storageSpecSecretName: ""` + notADNSName,
				`credentials.storageSecretNameAnnotation: "" is not the key of an annotation; write e.g. example.com/secret`,
				`credentials.gcs.gcsCredentialFileName: "a/b" is not a key of a Secret; use letters, digits, dashes, dots and underscores`,
				`credentials.s3.s3Endpoint: "https://minio:9000" has a scheme; write host and port only, and choose the scheme with s3UseHttps`,
				`credentials.s3.s3UseHttps: "yes" is not a switch; write "1", "0" or ""`,
			},
		},

		"address without a scheme": {
			given: `analysis: {prometheus: {address: "prometheus:9090"}}`,
			want:  []string{`analysis.prometheus.address: "prometheus:9090" is not the URL of a Prometheus; write e.g. http://prometheus.monitoring:9090`},
		},
		"credentials in the address": {
			given: `analysis: {prometheus: {address: "https://admin:secret@prometheus"}}`,
			want:  []string{`analysis.prometheus.address: the URL contains credentials; remove them and write the name of a file into analysis.prometheus.bearerTokenFile`},
		},
		"files without an address": {
			given: `analysis: {prometheus: {bearerTokenFile: /token, caFile: ca.crt}}`,
			want: []string{
				`analysis.prometheus.bearerTokenFile: "/token" is not used while analysis.prometheus.address is empty; leave it empty or change the address`,
				`analysis.prometheus.caFile: "ca.crt" is not an absolute path; write e.g. /etc/serinus-prometheus/token`,
			},
		},
		"certificates for plain HTTP": {
			given: `analysis: {prometheus: {address: "http://prometheus:9090", caFile: /ca.crt, timeout: 0s}}`,
			want: []string{
				`analysis.prometheus.caFile: "/ca.crt" is not used while analysis.prometheus.address does not begin with https://; leave it empty or change the address`,
				`analysis.prometheus.timeout: 0s is too short; write 1s or more`,
			},
		},
		"unknown key of a preset": {
			given: `analysis: {presets: {mine: {errors: []}}}`,
			want:  []string{`analysis.presets.mine.errors: unknown key; known keys are bad, controllers, latency, notBad, runtimes, total`},
		},
		"preset without selectors": {
			given: `analysis: {presets: {auto: {}}}`,
			want: []string{
				`analysis.presets.auto: "auto" is not the name of a preset; use lower-case letters, digits and inner dashes, at most 63 characters, and not auto`,
				`analysis.presets.auto.total: is empty; write e.g. ['requests_total{namespace="$namespace",pod=~"$pods"}']`,
				`analysis.presets.auto.bad: is empty; write e.g. ['requests_total{namespace="$namespace",pod=~"$pods"}']`,
			},
		},
		"selectors of a preset": {
			given: `analysis: {presets: {mine: {total: ['sum(x{namespace="$namespace",pod=~"$pods"})'], bad: ['x{pod=~"$pods"}', 'x{namespace="$namespace"}'], latency: {bucket: '', count: 'c{namespace="$namespace",pod=~"$pods"}', unit: -1s}}}}`,
			want: []string{
				`analysis.presets.mine.total[0]: "sum(x{namespace=\"$namespace\",pod=~\"$pods\"})" is not a selector of series; write e.g. 'requests_total{namespace="$namespace",pod=~"$pods"}', without functions and ranges`,
				`analysis.presets.mine.bad[0]: "x{pod=~\"$pods\"}" lacks $namespace, without which the series of all namespaces would be read`,
				`analysis.presets.mine.bad[1]: "x{namespace=\"$namespace\"}" lacks $revision or $pods, without which revisions cannot be told apart`,
				`analysis.presets.mine.latency.bucket: "" is not a selector of series; write e.g. 'requests_total{namespace="$namespace",pod=~"$pods"}', without functions and ranges`,
				`analysis.presets.mine.latency.unit: -1s is too short; write 0s or more`,
			},
		},

		"no workers": {
			given: `controller: {concurrency: 0, resyncPeriod: 1s, gracefulShutdownTimeout: -1s}`,
			want: []string{
				`controller.concurrency: 0 is too few; write 1 or more`,
				`controller.resyncPeriod: 1s is too short; write 1m0s or more`,
				`controller.gracefulShutdownTimeout: -1s is too short; write 0s or more`,
			},
		},
		"rate of 0": {
			given: `controller: {kubeAPIQPS: 0}`,
			want:  []string{`controller.kubeAPIQPS: 0 is not a rate; write -1 for no limit`},
		},
		"rate without a burst": {
			given: `controller: {kubeAPIQPS: 20}`,
			want:  []string{`controller.kubeAPIBurst: 0 is too few for a limited rate; write 1 or more, e.g. twice controller.kubeAPIQPS`},
		},
		"rate that is not a number": {
			given: `controller: {kubeAPIQPS: many}`,
			want:  []string{`controller.kubeAPIQPS: "many" is not a number`},
		},
		"invalid boolean": {
			given: `leaderElection: {enabled: "on"}`,
			want:  []string{`leaderElection.enabled: "on" is not true or false`},
		},
		"leader election that cannot hold a lease": {
			given: `leaderElection: {leaseDuration: 10s, renewDeadline: 10s, retryPeriod: 9s, namespace: A}`,
			want: []string{
				`leaderElection.namespace: "A"` + notAName,
				`leaderElection.renewDeadline: 10s is too short; write more than 1.2 times leaderElection.retryPeriod (9s)`,
				`leaderElection.leaseDuration: 10s is too short; write more than leaderElection.renewDeadline (10s)`,
			},
		},
		"addresses": {
			given: `{metrics: {bindAddress: "8443"}, health: {bindAddress: ":99999"}}`,
			want: []string{
				`metrics.bindAddress: "8443" is not an address to listen on; write e.g. ":8443", or "0" for none`,
				`health.bindAddress: ":99999" is not an address to listen on; write e.g. ":8443", or "0" for none`,
			},
		},
		"unused certificate": {
			given: `metrics: {secure: false, certDir: /tls}`,
			want:  []string{`metrics.certDir: "/tls" is not used while metrics.secure is false; set it to true or leave certDir empty`},
		},
		"several errors": {
			given: "rollout: {drainPeriod: soon}\nhealth: {port: 1}",
			want: []string{
				`health.port: unknown key; known keys are bindAddress`,
				`rollout.drainPeriod: "soon" is not a duration; write e.g. 30s`,
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			given := head + tt.given
			if strings.HasPrefix(tt.given, "{") {
				given = `{apiVersion: config.serinus.io/v1alpha1, kind: OperatorConfiguration, ` + tt.given[1:]
			}
			_, err := parse([]byte(given))
			if err == nil {
				t.Fatal("the file was accepted")
			}
			if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("unexpected mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVersionIsRequired(t *testing.T) {
	missing := `apiVersion: "" is not a version that this operator reads; write config.serinus.io/v1alpha1` + "\n" +
		`kind: "" is not the kind of this file; write OperatorConfiguration`
	tests := map[string]struct{ given, want string }{
		"empty file":     {given: "", want: missing},
		"only comments":  {given: "# Nothing.\n", want: missing},
		"other settings": {given: "deploymentMode: Knative", want: missing},
		"other version": {
			given: "apiVersion: config.serinus.io/v1\nkind: OperatorConfiguration",
			want:  `apiVersion: "config.serinus.io/v1" is not a version that this operator reads; write config.serinus.io/v1alpha1`,
		},
		"list for the whole file": {given: "[]", want: `[] is not a mapping of keys to values`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse([]byte(tt.given))
			if err == nil {
				t.Fatal("the file was accepted")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("unexpected mistakes (-want +got):\n%s", diff)
			}
		})
	}
}
