// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

type documents struct {
	isvc     *v1beta1.InferenceService
	runtimes Runtimes
	accounts []corev1.ServiceAccount
	secrets  []corev1.Secret
}

func readDocuments(t *testing.T, path string) documents {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var docs documents
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatal(err)
		}
		docs.add(t, path, document)
	}
}

func (d *documents) add(t *testing.T, path string, document []byte) {
	t.Helper()
	var kind metav1.TypeMeta
	decode := func(into any) {
		if err := yaml.UnmarshalStrict(document, into); err != nil {
			t.Fatalf("%s: %s: %v", path, kind.Kind, err)
		}
	}
	if err := yaml.Unmarshal(document, &kind); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	switch kind.Kind {
	case "InferenceService":
		d.isvc = &v1beta1.InferenceService{}
		decode(d.isvc)
		if d.isvc.Namespace == "" {
			d.isvc.Namespace = "default"
		}
	case "ServingRuntime":
		runtime := &v1alpha1.ServingRuntime{}
		decode(runtime)
		d.runtimes.Namespaced = append(d.runtimes.Namespaced, runtime)
	case "ClusterServingRuntime":
		runtime := &v1alpha1.ClusterServingRuntime{}
		decode(runtime)
		d.runtimes.Cluster = append(d.runtimes.Cluster, runtime)
	case "ServiceAccount":
		var account corev1.ServiceAccount
		decode(&account)
		d.accounts = append(d.accounts, account)
	case "Secret":
		var secret corev1.Secret
		decode(&secret)
		secret.Data = map[string][]byte{}
		for key, value := range secret.StringData {
			secret.Data[key] = []byte(value)
		}
		d.secrets = append(d.secrets, secret)
	}
}

func (d *documents) credentials(need CredentialsNeed) Credentials {
	var credentials Credentials
	for _, account := range d.accounts {
		if account.Name != need.ServiceAccount {
			continue
		}
		credentials.ServiceAccountAnnotations = account.Annotations
		for _, reference := range account.Secrets {
			if secret := d.secret(reference.Name); secret != nil {
				credentials.ServiceAccountSecrets = append(credentials.ServiceAccountSecrets, *secret)
			}
		}
	}
	credentials.Secret = d.secret(need.Secret)
	return credentials
}

func (d *documents) secret(name string) *Secret {
	for _, secret := range d.secrets {
		if secret.Name == name {
			return new(SecretOf(&secret))
		}
	}
	return nil
}

func defaultSettings() Settings {
	quantities := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse(cpu),
			corev1.ResourceMemory: resource.MustParse(memory),
		}
	}
	return Settings{
		StorageInitializer: StorageInitializer{
			Image: "kserve/storage-initializer:v0.20.0",
			Resources: corev1.ResourceRequirements{
				Requests: quantities("100m", "100Mi"),
				Limits:   quantities("1", "1Gi"),
			},
		},
		Resources: corev1.ResourceRequirements{
			Requests: quantities("1", "2Gi"),
			Limits:   quantities("1", "2Gi"),
		},
		Credentials: CredentialSettings{
			StorageSpecSecretName:       "storage-config",
			StorageSecretNameAnnotation: v1beta1.AnnotationStorageSecretName,
			S3: S3Settings{
				AccessKeyIDName:     "AWS_ACCESS_KEY_ID",
				SecretAccessKeyName: "AWS_SECRET_ACCESS_KEY",
			},
		},
	}
}

func isvcFrom(t testing.TB, predictor string) *v1beta1.InferenceService {
	t.Helper()
	isvc := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "iris"}}
	if err := yaml.UnmarshalStrict([]byte(predictor), &isvc.Spec.Predictor); err != nil {
		t.Fatal(err)
	}
	return isvc
}

func runtimeFrom(t testing.TB, name, spec string) *v1alpha1.ClusterServingRuntime {
	t.Helper()
	runtime := &v1alpha1.ClusterServingRuntime{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &runtime.Spec); err != nil {
		t.Fatal(err)
	}
	return runtime
}

func cluster(runtimes ...*v1alpha1.ClusterServingRuntime) Runtimes {
	return Runtimes{Cluster: runtimes}
}

func namespaced(runtime *v1alpha1.ClusterServingRuntime) *v1alpha1.ServingRuntime {
	return &v1alpha1.ServingRuntime{ObjectMeta: runtime.ObjectMeta, Spec: runtime.Spec}
}

func resolve(t testing.TB, isvc *v1beta1.InferenceService, runtimes Runtimes) *Resolved {
	t.Helper()
	resolved, err := Resolve(isvc, runtimes, defaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}
