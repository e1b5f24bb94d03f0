// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "update testdata/*.golden.yaml")

func TestChartMatchesKustomize(t *testing.T) {
	tests := map[string]struct {
		givenValues     map[string]any
		givenComponents []string
	}{
		"defaults": {},
		"with all optional components": {
			givenValues: map[string]any{
				"monitoring":    map[string]any{"enabled": true},
				"networkPolicy": map[string]any{"enabled": true},
			},
			givenComponents: []string{"prometheus", "network-policy"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := kustomizeBuild(t, tt.givenComponents...).withoutHash(t)
			got := mustRender(t, tt.givenValues)

			// Helm creates the namespace of a release itself.
			delete(want, "Namespace <nil>/"+namespace)
			removeHelmAnnotations(t, got)

			if diff := cmp.Diff(want.keys(), got.keys()); diff != "" {
				t.Fatalf("the sets of objects differ (-kustomize +helm):\n%s", diff)
			}
			for _, key := range want.keys() {
				if diff := cmp.Diff(want[key], got[key]); diff != "" {
					t.Errorf("%s differs (-kustomize +helm):\n%s", key, truncate(diff))
				}
			}
		})
	}
}

func removeHelmAnnotations(t *testing.T, rendered objects) {
	t.Helper()
	remove := func(metadata any, key string) {
		annotations, _ := at(metadata, "annotations").(map[string]any)
		if _, ok := annotations[key]; !ok {
			t.Errorf("the annotation %s is missing", key)
			return
		}
		delete(annotations, key)
		if len(annotations) == 0 {
			delete(metadata.(map[string]any), "annotations")
		}
	}
	for _, object := range rendered {
		switch object["kind"] {
		case "CustomResourceDefinition":
			remove(at(object, "metadata"), "helm.sh/resource-policy")
		case "Deployment":
			remove(at(object, "spec", "template", "metadata"), "checksum/config")
		}
	}
}

// truncate shortens a long diff.
func truncate(text string) string {
	const limit = 4000
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "…"
}

func TestChartFilesAreCurrent(t *testing.T) {
	want := filesOf(t, filepath.Join(chartDir, "files"))
	copied := t.TempDir()
	// The script writes next to itself, so it runs in a copy of the tree.
	for _, dir := range []string{"config/crd", "config/rbac", "config/manager", "config/components", "config/admission"} {
		if err := os.CopyFS(filepath.Join(copied, dir), os.DirFS(filepath.Join("..", dir))); err != nil {
			t.Fatal(err)
		}
	}
	chart := filepath.Join(copied, "charts", chartDir)
	if err := os.CopyFS(chart, os.DirFS(chartDir)); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(t.Context(), "sh", filepath.Join(chart, "sync.sh")).CombinedOutput(); err != nil {
		t.Fatalf("sync.sh: %v\n%s", err, output)
	}
	if diff := cmp.Diff(want, filesOf(t, filepath.Join(chart, "files"))); diff != "" {
		t.Errorf("the files are outdated; run charts/serinus/sync.sh (-current +expected):\n%s", truncate(diff))
	}
}

func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	contents := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		contents[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

// TestValuesAreRendered renders testdata/values.yaml, in which every value differs from its
// default, and compares the objects that depend on them.
func TestValuesAreRendered(t *testing.T) {
	data, err := os.ReadFile("testdata/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	rendered := mustRender(t, values)
	for _, key := range rendered.keys() {
		if strings.HasPrefix(key, "CustomResourceDefinition") {
			t.Errorf("%s is rendered despite crds.install=false", key)
		}
		if strings.HasPrefix(key, "ValidatingAdmissionPolicy") {
			t.Errorf("%s is rendered despite admissionPolicies.install=false", key)
		}
	}

	var got bytes.Buffer
	for _, key := range []string{
		"ConfigMap serinus-system/serinus-config",
		"Deployment serinus-system/serinus-controller-manager",
		"ServiceAccount serinus-system/serinus-controller-manager",
		"ServiceMonitor serinus-system/serinus-controller-manager",
	} {
		text, err := yaml.Marshal(rendered[key])
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString("---\n")
		got.Write(text)
	}
	const golden = "testdata/values.golden.yaml"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites the file):\n%s", golden, diff)
	}
}

func TestDigestReplacesTheTag(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	rendered := mustRender(t, map[string]any{"image": map[string]any{"tag": "v9", "digest": digest}})
	got := at(rendered["Deployment serinus-system/serinus-controller-manager"], "spec", "template", "spec", "containers", 0, "image")
	if want := "ghcr.io/serinus-io/serinus@" + digest; got != want {
		t.Errorf("the image is %v, want %s", got, want)
	}
}

func TestConfigurationRollsTheDeployment(t *testing.T) {
	checksum := func(values map[string]any) any {
		return at(mustRender(t, values)["Deployment serinus-system/serinus-controller-manager"],
			"spec", "template", "metadata", "annotations", "checksum/config")
	}
	before := checksum(nil)
	after := checksum(map[string]any{"config": map[string]any{"controller": map[string]any{"concurrency": 16}}})
	if before == nil || before == after {
		t.Errorf("the checksum went from %v to %v", before, after)
	}
}

func TestInvalidValuesAreRejected(t *testing.T) {
	config := func(section, key string, value any) map[string]any {
		return map[string]any{"config": map[string]any{section: map[string]any{key: value}}}
	}
	tests := map[string]struct {
		given map[string]any
		want  string
	}{
		"unknown value": {
			given: map[string]any{"replicaCount": 3},
			want:  "additional properties 'replicaCount' not allowed",
		},
		"unknown mode": {
			given: map[string]any{"config": map[string]any{"deploymentMode": "knative"}},
			want:  "at '/config/deploymentMode'",
		},
		"address of Prometheus without a scheme": {
			given: config("analysis", "prometheus", map[string]any{"address": "prometheus:9090"}),
			want:  "at '/config/analysis/prometheus/address'",
		},
		"unknown key of the analysis": {
			given: config("analysis", "namespaceQueries", true),
			want:  "additional properties 'namespaceQueries' not allowed",
		},
		"two leaders": {
			given: config("leaderElection", "enabled", false),
			want:  "config.leaderElection.enabled is false and replicas is above 1: two operators would act at once; set replicas to 1 or leave leader election on",
		},
		"a metrics port that the Service does not expect": {
			given: config("metrics", "bindAddress", ":9090"),
			want:  "config.metrics.bindAddress: the Service expects :8443; leave the key out, or write \"0\" for no metrics",
		},
		"a ServiceMonitor without metrics": {
			given: map[string]any{
				"monitoring": map[string]any{"enabled": true},
				"config":     map[string]any{"metrics": map[string]any{"bindAddress": "0"}},
			},
			want: "config.metrics.bindAddress is \"0\" and monitoring.enabled is true: there is nothing to scrape; change one of them",
		},
		"certificate that is not mounted": {
			given: config("metrics", "certDir", "/certs"),
			want:  "config.metrics.certDir: the chart mounts no certificate; leave the key out",
		},
		"a Lease in a namespace without rights": {
			given: config("leaderElection", "namespace", "elsewhere"),
			want:  "config.leaderElection.namespace: the chart gives rights to the Lease in namespace serinus-system only; leave the key out",
		},
		"a health port that the probes do not expect": {
			given: config("health", "bindAddress", ":9090"),
			want:  "config.health.bindAddress: the probes expect :8081; leave the key out",
		},
		"a malformed digest": {
			given: map[string]any{"image": map[string]any{"digest": "v1"}},
			want:  "'v1' does not match pattern",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := render(t, tt.given)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestStrategyIsRecreateWithoutLeaderElection(t *testing.T) {
	strategy := func(values map[string]any) any {
		return at(mustRender(t, values)["Deployment serinus-system/serinus-controller-manager"], "spec", "strategy", "type")
	}
	if got := strategy(nil); got != nil {
		t.Errorf("with leader election, the strategy is %v", got)
	}
	alone := map[string]any{"replicas": 1, "config": map[string]any{"leaderElection": map[string]any{"enabled": false}}}
	if got := strategy(alone); got != "Recreate" {
		t.Errorf("without leader election, the strategy is %v", got)
	}
}

func TestMetricsEndpointsMatch(t *testing.T) {
	const (
		service = "Service serinus-system/serinus-controller-manager-metrics"
		monitor = "ServiceMonitor serinus-system/serinus-controller-manager"
	)
	endpoint := func(rendered objects, key string) any { return at(rendered[monitor], "spec", "endpoints", 0, key) }
	metrics := func(key string, value any) map[string]any {
		return map[string]any{"metrics": map[string]any{key: value}}
	}

	plain := mustRender(t, map[string]any{"monitoring": map[string]any{"enabled": true}, "config": metrics("secure", false)})
	if got := at(plain[service], "spec", "ports", 0, "name"); got != "http" || endpoint(plain, "port") != got || endpoint(plain, "scheme") != got {
		t.Errorf("without TLS, the port is %v, and the ServiceMonitor has port %v and scheme %v", got, endpoint(plain, "port"), endpoint(plain, "scheme"))
	}
	if token, tls := endpoint(plain, "authorization"), endpoint(plain, "tlsConfig"); token != nil || tls != nil {
		t.Errorf("without TLS, the ServiceMonitor has authorization %v and tlsConfig %v", token, tls)
	}

	none := mustRender(t, map[string]any{"networkPolicy": map[string]any{"enabled": true}, "config": metrics("bindAddress", "0")})
	if none[service] != nil {
		t.Error("without metrics, there is a metrics Service")
	}
	if got := at(none["NetworkPolicy serinus-system/serinus-controller-manager"], "spec", "ingress"); got != nil {
		t.Errorf("without metrics, the NetworkPolicy allows %v", got)
	}
}

func TestEveryModeCanBeTheDefault(t *testing.T) {
	for _, mode := range []string{"Standard", "Knative"} {
		rendered := mustRender(t, map[string]any{"config": map[string]any{"deploymentMode": mode}})
		got := at(rendered["ConfigMap serinus-system/serinus-config"], "data", "config.yaml")
		if text, _ := got.(string); !strings.Contains(text, "deploymentMode: "+mode+"\n") {
			t.Errorf("with mode %s, the configuration is %v", mode, got)
		}
	}
}

func TestNotesNameTheStorageInitializerImage(t *testing.T) {
	const unpublished = "models are NOT downloaded"
	notes := func(values map[string]any) string {
		files, err := renderFiles(t, values)
		if err != nil {
			t.Fatal(err)
		}
		return files["serinus/templates/NOTES.txt"]
	}
	if got := notes(nil); !strings.Contains(got, "ghcr.io/serinus-io/storage-initializer:") || !strings.Contains(got, unpublished) {
		t.Errorf("with the default image, which is not published, the notes are\n%s", got)
	}
	const own = "registry.example.org/storage-initializer:v1"
	got := notes(map[string]any{"config": map[string]any{"storageInitializer": map[string]any{"image": own}}})
	if !strings.Contains(got, own) || strings.Contains(got, unpublished) {
		t.Errorf("with a custom image, the notes are\n%s", got)
	}
}

func TestChartPassesHelmLint(t *testing.T) {
	for _, message := range lint.RunAll(chartDir, nil, namespace).Messages {
		if message.Severity >= support.WarningSev {
			t.Error(message)
		}
	}
}
