// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const example = "../../config/manager/config.yaml"

const head = "apiVersion: config.serinus.io/v1alpha1\nkind: OperatorConfiguration\n"

func TestExampleHoldsTheDefaults(t *testing.T) {
	got, err := Load(example)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s differs from the defaults (-default +example):\n%s", example, diff)
	}
}

// TestExampleShowsEveryKey includes the optional blocks, which are commented out in the example.
func TestExampleShowsEveryKey(t *testing.T) {
	data, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	data = uncommentOptional(data)

	if _, err := parse(data); err != nil {
		t.Fatalf("the example with its optional blocks does not load: %v", err)
	}
	var shown map[string]any
	if err := yaml.Unmarshal(data, &shown); err != nil {
		t.Fatal(err)
	}
	for _, key := range missingKeys("", reflect.TypeFor[Config](), shown) {
		t.Errorf("%s does not show %s", example, key)
	}
}

func uncommentOptional(data []byte) []byte {
	comment := regexp.MustCompile(`^( +)# ?(.*)$`)
	lines := strings.Split(string(data), "\n")
	optional := false
	for i, line := range lines {
		m := comment.FindStringSubmatch(line)
		switch {
		case m == nil:
			optional = false
		case optional:
			lines[i] = m[1] + m[2]
		default:
			optional = m[2] == ""
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

func missingKeys(path string, typ reflect.Type, shown any) []string {
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || typ.PkgPath() != reflect.TypeFor[Config]().PkgPath() || typ == reflect.TypeFor[HostTemplate]() {
		return nil
	}
	members, _ := shown.(map[string]any)
	var missing []string
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		value, ok := members[name]
		if !ok {
			missing = append(missing, join(path, name))
			continue
		}
		missing = append(missing, missingKeys(join(path, name), field.Type, value)...)
	}
	return missing
}

func TestOmittedKeysHaveDefaults(t *testing.T) {
	got, err := parse([]byte(head + `
deploymentMode: Knative
ingress:
  domain: models.example.org
  urlScheme: https
  requestTimeout: 0s
  localGateway:
    namespace: istio-system
    name: local
    service: {namespace: istio-system, name: local-gateway}
rollout: # Nothing but a comment below.
  # drainPeriod: 1s
storageInitializer:
  resources:
    limits: {memory: 4Gi}
  runAsUser: 1000
  env: {AWS_ENDPOINT_URL: "http://minio:9000"}
propagation:
  excludedLabels: [team, "example.com/*"]
controller: {kubeAPIQPS: 20, kubeAPIBurst: 40}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.DeploymentMode = Knative
	want.Ingress.Domain = "models.example.org"
	want.Ingress.URLScheme = "https"
	want.Ingress.RequestTimeout = &metav1.Duration{}
	want.Ingress.LocalGateway = &LocalGateway{
		Namespace: "istio-system",
		Name:      "local",
		Service:   ServiceRef{Namespace: "istio-system", Name: "local-gateway"},
	}
	delete(want.StorageInitializer.Resources.Limits, "cpu")
	want.StorageInitializer.Resources.Limits["memory"] = resources("0", "4Gi")["memory"]
	want.StorageInitializer.RunAsUser = new(int64(1000))
	want.StorageInitializer.Env = map[string]string{"AWS_ENDPOINT_URL": "http://minio:9000"}
	want.Propagation.ExcludedLabels = []string{"team", "example.com/*"}
	want.Controller.KubeAPIQPS = 20
	want.Controller.KubeAPIBurst = 40
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unexpected configuration (-want +got):\n%s", diff)
	}
}

// TestKServeCredentialsCanBePasted loads the JSON value of credentials in KServe's
// inferenceservice-config.
func TestKServeCredentialsCanBePasted(t *testing.T) {
	got, err := parse([]byte(head + `
credentials:
  {
     "storageSpecSecretName": "storage-config",
     "storageSecretNameAnnotation": "serving.kserve.io/storageSecretName",
     "gcs": {
         "gcsCredentialFileName": "key.json"
     },
     "s3": {
         "s3AccessKeyIDName": "AWS_ACCESS_KEY_ID",
         "s3SecretAccessKeyName": "AWS_SECRET_ACCESS_KEY",
         "s3Endpoint": "minio.minio:9000",
         "s3UseHttps": "0",
         "s3Region": "",
         "s3VerifySSL": "",
         "s3UseVirtualBucket": "",
         "s3UseAccelerate": "",
         "s3UseAnonymousCredential": "",
         "s3CABundleConfigMap": "",
         "s3CABundle": ""
     }
  }
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default().Credentials
	want.GCS.CredentialFileName = "key.json"
	want.S3.Endpoint = "minio.minio:9000"
	want.S3.UseHTTPS = "0"
	if diff := cmp.Diff(want, got.Credentials); diff != "" {
		t.Errorf("unexpected credentials (-want +got):\n%s", diff)
	}
}

func TestDefaultsAreIndependent(t *testing.T) {
	Default().Predictor.Resources.Limits["cpu"] = resources("9", "9Gi")["cpu"]
	if got := Default().Predictor.Resources.Limits.Cpu().String(); got != "1" {
		t.Errorf("the defaults share a map: cpu is %s", got)
	}
}

func TestLoadErrorsNameTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error for a missing file is %v, want the path %s in it", err, path)
	}
	if err := os.WriteFile(path, []byte(head+"deploymentmode: Standard\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error for an invalid file is %v, want the path %s in it", err, path)
	}
}
