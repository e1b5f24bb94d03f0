// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestStorageSchemes(t *testing.T) {
	downloads := []string{
		"gs://bucket/path", "s3://bucket/path", "http://host/model.zip", "https://host/model.tar.gz",
		"hf://org/model", "hf://org/model:revision", "file:///models/iris", "hdfs://path", "webhdfs://path",
		"https://account.blob.core.windows.net/container/path", "https://account.file.core.windows.net/share/model.zip?sv=1&sig=x", "/models/iris", "models/iris", "c:/models",
	}
	cases := map[string]source{
		"pvc://claim":                      {kind: claim, claim: "claim"},
		"pvc://claim/":                     {kind: claim, claim: "claim"},
		"pvc://claim.with.dots/a/b/":       {kind: claim, claim: "claim.with.dots", path: "a/b"},
		"pvc://claim//a/./b":               {kind: claim, claim: "claim", path: "a/b"},
		"oci://registry:5000/org/model":    {kind: image, reference: "registry:5000/org/model"},
		"oci://registry/org/model:1":       {kind: image, reference: "registry/org/model:1"},
		"oci+native://registry/org/m:1":    {kind: image, reference: "registry/org/m:1"},
		"oci://m@sha256:0123456789abcdef0": {kind: image, reference: "m@sha256:0123456789abcdef0"},
	}
	for _, uri := range downloads {
		cases[uri] = source{kind: download, uri: uri}
	}
	for uri, want := range cases {
		got, err := parseSource("field", uri)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", uri, got, err, want)
		}
	}
}

func TestStorageURIIsRejected(t *testing.T) {
	const supported = "write one of gs://, s3://, hf://, pvc://, oci://, oci+native://, https://, http://, hdfs://, webhdfs://, file://, " +
		"https://<account>.blob.core.windows.net/<container>/<path>, or a local path"
	cases := map[string]string{
		"":                           `is empty; ` + supported,
		"ftp://host/model":           `"ftp://host/model": storage ftp:// is not supported; ` + supported,
		"oci+fetch://registry/model": `"oci+fetch://registry/model": storage oci+fetch:// is not supported; ` + supported,
		"modelscope://owner/model":   `"modelscope://owner/model": downloads from ModelScope are not supported; copy the model to a supported store, or to a PersistentVolumeClaim and write pvc://<claim>/<path>`,
		"modelscope:/owner/model":    `"modelscope:/owner/model" has no // after its scheme; write modelscope://…`,
		"https://a.file.core.windows.net/share/model": `"https://a.file.core.windows.net/share/model": downloads from Azure Files are not supported; ` +
			"make a PersistentVolumeClaim of the share and write pvc://<claim>/<path>, or move the model to Azure Blob Storage",
		"S3://bucket/path":                `"S3://bucket/path": storage S3:// is not supported; ` + supported,
		"s3:/bucket/path":                 `"s3:/bucket/path" has no // after its scheme; write s3://…`,
		"pvc:claim":                       `"pvc:claim" has no // after its scheme; write pvc://…`,
		"gs://":                           `"gs://" is incomplete; write a location after gs://`,
		"pvc://Claim/path":                `"pvc://Claim/path": "Claim" is not the name of a PersistentVolumeClaim; write pvc://<claim>/<path>`,
		"pvc:///path":                     `"pvc:///path": "" is not the name of a PersistentVolumeClaim; write pvc://<claim>/<path>`,
		"pvc://claim/../other":            `"pvc://claim/../other": a path in a volume cannot contain ..`,
		"oci://registry/model name":       `"oci://registry/model name": "registry/model name" is not the name of an image; write oci://registry/repository:tag`,
		"https://a.blob.core.windows.net": `"https://a.blob.core.windows.net" is not an address in Azure Blob Storage; write https://<account>.blob.core.windows.net/<container>/<path>`,
	}
	for uri, want := range cases {
		_, err := Resolve(isvcFrom(t, "model: {modelFormat: {name: sklearn}, storageUri: \""+uri+"\"}"), Runtimes{}, defaultSettings())
		wantError(t, err, Error{Reason: v1beta1.InvalidPredictorSpec, Field: "spec.predictor.model.storageUri", Message: want})
	}
}

func TestStorageSpecIsRejected(t *testing.T) {
	secret := new(SecretOf(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "storage-config"},
		Data: map[string][]byte{
			"no-type":   []byte(`{"bucket": "models"}`),
			"no-bucket": []byte(`{"type": "s3"}`),
			"unknown":   []byte(`{"type": "ftp"}`),
			"not-json":  []byte("x"),
		},
	}))
	const field = "spec.predictor.model.storage"
	cases := map[string]struct {
		storage string
		secret  *Secret
		want    Error
	}{
		"no path": {
			"{key: minio}", nil,
			Error{Field: field + ".path", Message: "is not set; write the path of the model in its bucket, or use storageUri"},
		},
		"no secret": {
			"{key: minio, path: iris}", nil,
			Error{Field: field + ".key", Message: `"minio": there is no secret storage-config in namespace models; create it, or use storageUri`},
		},
		"no such key": {
			"{key: minio, path: iris}", secret,
			Error{Field: field + ".key", Message: `"minio" is not a key of secret storage-config; its keys are no-bucket, no-type, not-json and unknown`},
		},
		"no type, and no secret": {
			"{path: iris}", nil,
			Error{Field: field, Message: `does not say what type of storage it is; write parameters.type: s3, or put "type" into the entry of the secret`},
		},
		"no type": {
			"{key: no-type, path: iris}", secret,
			Error{Field: field, Message: `does not say what type of storage it is; write parameters.type: s3, or put "type" into the entry of the secret`},
		},
		"an entry that is not JSON": {
			"{key: not-json, path: iris}", secret,
			Error{Field: field, Message: `does not say what type of storage it is; write parameters.type: s3, or put "type" into the entry of the secret`},
		},
		"an unknown type": {
			"{key: unknown, path: iris}", secret,
			Error{Field: field, Message: `type "ftp" is not supported here, in parameters or in the entry of the secret; write one of s3, hdfs or webhdfs, or use storageUri`},
		},
		"a type without a storage-config Secret": {
			"{path: iris, parameters: {type: gs}}", nil,
			Error{Field: field, Message: `type "gs" is not supported here, in parameters or in the entry of the secret; write one of s3, hdfs or webhdfs, or use storageUri`},
		},
		"an empty key": {
			"{key: \"\", path: iris}", secret,
			Error{Field: field, Message: `does not say what type of storage it is; write parameters.type: s3, or put "type" into the entry of the secret`},
		},
		"no bucket": {
			"{key: no-bucket, path: iris}", secret,
			Error{Field: field, Message: `does not name the bucket; write parameters.bucket, or put "bucket" into the entry of the secret`},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			isvc := isvcFrom(t, "model: {modelFormat: {name: sklearn}, storage: "+test.storage+"}")
			resolved, err := Resolve(isvc, cluster(runtimeFrom(t, "sklearn", sklearnRuntime)), defaultSettings())
			if err == nil {
				_, err = resolved.Render(Credentials{Secret: test.secret})
			}
			test.want.Reason = v1beta1.InvalidPredictorSpec
			test.want.InSecret = test.want.Field != field+".path"
			wantError(t, err, test.want)
		})
	}
}

func TestNeedsCredentials(t *testing.T) {
	cases := map[string]struct {
		predictor  string
		annotation string
		want       CredentialsNeed
	}{
		"no model":               {"{model: {modelFormat: {name: sklearn}}}", "", CredentialsNeed{}},
		"a volume":               {"{model: {modelFormat: {name: sklearn}, storageUri: pvc://c}}", "mine", CredentialsNeed{}},
		"an image":               {"{model: {modelFormat: {name: sklearn}, storageUri: oci://i}}", "", CredentialsNeed{}},
		"a download":             {"{model: {modelFormat: {name: sklearn}, storageUri: gs://b}}", "", CredentialsNeed{ServiceAccount: "default"}},
		"a service account":      {"{serviceAccountName: runner, model: {modelFormat: {name: sklearn}, storageUri: gs://b}}", "", CredentialsNeed{ServiceAccount: "runner"}},
		"the deprecated field":   {"{serviceAccount: runner, model: {modelFormat: {name: sklearn}, storageUri: gs://b}}", "", CredentialsNeed{ServiceAccount: "runner"}},
		"a secret by annotation": {"{model: {modelFormat: {name: sklearn}, storageUri: gs://b}}", "mine", CredentialsNeed{ServiceAccount: "default", Secret: "mine"}},
		"a storage spec":         {"{model: {modelFormat: {name: sklearn}, storage: {path: p}}}", "", CredentialsNeed{Secret: "storage-config"}},
		"both of them":           {"{model: {modelFormat: {name: sklearn}, storage: {path: p}}}", "mine", CredentialsNeed{Secret: "mine"}},
		"a custom initializer": {
			"{initContainers: [{name: storage-initializer}], model: {modelFormat: {name: sklearn}, storageUri: gs://b}}", "mine", CredentialsNeed{},
		},
		"a container": {"{containers: [{name: kserve-container, image: i}]}", "", CredentialsNeed{}},
		"a container with a model": {
			"{containers: [{name: kserve-container, image: i, env: [{name: STORAGE_URI, value: gs://b}]}]}", "",
			CredentialsNeed{ServiceAccount: "default"},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			isvc := isvcFrom(t, test.predictor)
			if test.annotation != "" {
				isvc.Annotations = map[string]string{v1beta1.AnnotationStorageSecretName: test.annotation}
			}
			resolved := resolve(t, isvc, cluster(runtimeFrom(t, "sklearn", sklearnRuntime)))
			if got := resolved.NeedsCredentials(); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestNamedSecretIsMissing(t *testing.T) {
	isvc := isvcFrom(t, irisPredictor)
	isvc.Annotations = map[string]string{v1beta1.AnnotationStorageSecretName: "mine"}
	_, err := resolve(t, isvc, cluster(runtimeFrom(t, "sklearn", sklearnRuntime))).Render(Credentials{})
	wantError(t, err, Error{
		Reason: v1beta1.InvalidPredictorSpec, Field: "metadata.annotations[serving.kserve.io/storageSecretName]",
		Message:  `"mine": there is no such secret in namespace models; create it, or remove the annotation`,
		InSecret: true,
	})
}

func TestModelPathIsAlreadyMounted(t *testing.T) {
	isvc := isvcFrom(t, `
volumes: [{name: mine, emptyDir: {}}]
model: {modelFormat: {name: sklearn}, storageUri: "gs://b/p", volumeMounts: [{name: mine, mountPath: /mnt/models}]}`)
	_, err := resolve(t, isvc, cluster(runtimeFrom(t, "sklearn", sklearnRuntime))).Render(Credentials{})
	wantError(t, err, Error{
		Reason: v1beta1.InvalidPredictorSpec, Field: "spec.predictor",
		Message: "container kserve-container mounts volume mine at /mnt/models, where the model belongs; mount it elsewhere, or remove storageUri",
	})
}

// TestTwoSecretsForOneKindOfStorage: for variables the last Secret is used. For mounts it is the
// first, because a path can be mounted only once.
func TestTwoSecretsForOneKindOfStorage(t *testing.T) {
	var builder initializerBuilder
	for _, name := range []string{"first", "second"} {
		builder.useSecret(Secret{Name: name, Keys: []string{keyGCSCredentials}}, CredentialSettings{})
		builder.useSecret(Secret{Name: name, Keys: []string{keyHFToken}}, CredentialSettings{})
	}
	if len(builder.mounts) != 1 || len(builder.volumes) != 1 || builder.volumes[0].Secret.SecretName != "first" {
		t.Errorf("got mounts %+v and volumes %+v, want those of the first secret", builder.mounts, builder.volumes)
	}
	if len(builder.env) != 2 || builder.env[1].ValueFrom.SecretKeyRef.Name != "second" {
		t.Errorf("got variables %+v, want the token of the second secret", builder.env)
	}
}

func TestSecretOfContainsNoSecretValues(t *testing.T) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "s", Annotations: map[string]string{"a": "b"}},
		Type:       corev1.SecretTypeOpaque,
		Data: map[string][]byte{
			"AWS_SECRET_ACCESS_KEY":               []byte("SECRET"),
			"headers":                             []byte("SECRET"),
			"HF_TOKEN":                            []byte("SECRET"),
			"gcloud-application-credentials.json": []byte(`{"type": "service_account", "private_key": "SECRET"}`),
			"minio":                               []byte(`{"type": "s3", "bucket": "models", "secret_access_key": "SECRET"}`),
			"https-host":                          []byte("models.example.com"),
			"S3_ENDPOINT":                         []byte("minio:9000"),
		},
	}
	description := SecretOf(secret)
	text, err := json.Marshal(description)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "SECRET\"") {
		t.Errorf("a secret value is in %s", text)
	}
	want := map[string]string{"https-host": "models.example.com", "S3_ENDPOINT": "minio:9000"}
	if diff := cmp.Diff(want, description.Public); diff != "" {
		t.Errorf("public values, -want +got:\n%s", diff)
	}
	if got := description.Storage["minio"]; got != (StorageEntry{Type: "s3", Bucket: "models"}) {
		t.Errorf("the storage entry is %+v", got)
	}
}

func TestS3Endpoint(t *testing.T) {
	cases := map[string]struct {
		annotations, public map[string]string
		settings            S3Settings
		want                map[string]string
	}{
		"nothing set": {want: map[string]string{}},
		"https by default": {
			annotations: map[string]string{"serving.kserve.io/s3-endpoint": " minio:9000 "},
			want:        map[string]string{envS3Endpoint: "minio:9000", envAWSEndpointURL: "https://minio:9000"},
		},
		"http with UseHTTPS": {
			annotations: map[string]string{"serving.kserve.io/s3-endpoint": "minio:9000"},
			settings:    S3Settings{UseHTTPS: "0"},
			want:        map[string]string{envS3UseHTTPS: "0", envS3Endpoint: "minio:9000", envAWSEndpointURL: "http://minio:9000"},
		},
		"the scheme before UseHTTPS": {
			settings: S3Settings{Endpoint: "HTTP://minio:9000", UseHTTPS: "1"},
			want:     map[string]string{envS3UseHTTPS: "0", envS3Endpoint: "minio:9000", envAWSEndpointURL: "http://minio:9000"},
		},
		"annotation before key before setting": {
			annotations: map[string]string{"serving.kserve.io/s3-region": "annotated"},
			public:      map[string]string{envAWSRegion: "stored", envS3VerifySSL: "stored"},
			settings:    S3Settings{Region: "set", VerifySSL: "set", UseAccelerate: "set", UseAnonymousCredential: "set"},
			want:        map[string]string{envAWSRegion: "annotated", envS3VerifySSL: "stored", envS3UseAccelerate: "set", envS3Anonymous: "set"},
		},
		"an empty annotation overrides the setting": {
			annotations: map[string]string{"serving.kserve.io/s3-region": ""},
			settings:    S3Settings{Region: "set"},
			want:        map[string]string{},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			for _, variable := range s3Environment(test.annotations, test.public, test.settings) {
				got[variable.Name] = variable.Value
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestStorageInitializerUsesServerCredentials: KServe's documentation puts the token for gated
// models into model.env.
func TestStorageInitializerUsesServerCredentials(t *testing.T) {
	const hub = "{secretKeyRef: {name: hub, key: token}}"
	account := func(secret Secret, annotations map[string]string) Credentials {
		credentials := Credentials{ServiceAccountAnnotations: annotations}
		if secret.Name != "" {
			credentials.ServiceAccountSecrets = []Secret{secret}
		}
		return credentials
	}
	cases := map[string]struct {
		predictor   string
		credentials Credentials
		want        string // Fields of the init container.
	}{
		"a token for the Hub": {
			"{model: {modelFormat: {name: sklearn}, storageUri: 'hf://a/b', env: [{name: HF_TOKEN, valueFrom: " + hub + "}, {name: HF_HUB_OFFLINE, value: '1'}]}}",
			Credentials{},
			"env: [{name: HF_TOKEN, valueFrom: " + hub + "}]",
		},
		"a token in a framework field": {
			"{huggingface: {storageUri: 'hf://a/b', env: [{name: HUGGING_FACE_HUB_TOKEN, value: x}]}}",
			Credentials{},
			"env: [{name: HUGGING_FACE_HUB_TOKEN, value: x}]",
		},
		"a token in a custom container": {
			"{containers: [{name: mine, env: [{name: STORAGE_URI, value: 'hf://a/b'}, {name: HF_TOKEN, value: x}]}]}",
			Credentials{},
			"env: [{name: HF_TOKEN, value: x}]",
		},
		"a Secret in envFrom": {
			"{model: {modelFormat: {name: sklearn}, storageUri: 'hf://a/b', envFrom: [{configMapRef: {name: a}}, {secretRef: {name: hub}, prefix: HF_}]}}",
			Credentials{},
			"envFrom: [{secretRef: {name: hub}, prefix: HF_}]",
		},
		"the service account's Secret has priority": {
			"{model: {modelFormat: {name: sklearn}, storageUri: 'hf://a/b', env: [{name: HF_TOKEN, value: x}], envFrom: [{secretRef: {name: other}}]}}",
			account(Secret{Name: "hub", Keys: []string{"HF_TOKEN"}}, nil),
			"env: [{name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hub, key: HF_TOKEN}}}]",
		},
		"an image pull secret is ignored": {
			"{model: {modelFormat: {name: sklearn}, storageUri: 'hf://a/b', env: [{name: HF_TOKEN, value: x}]}}",
			account(Secret{Name: "pull", Keys: []string{".dockerconfigjson"}}, nil),
			"env: [{name: HF_TOKEN, value: x}]",
		},
		"keys for S3": {
			"{model: {modelFormat: {name: sklearn}, storageUri: 's3://a/b', env: [{name: AWS_ACCESS_KEY_ID, value: k}, {name: AWS_SECRET_ACCESS_KEY, value: s}, " +
				"{name: S3_ENDPOINT, value: minio}, {name: S3_USE_HTTPS, value: '0'}, {name: HF_TOKEN, value: x}]}}",
			Credentials{},
			"env: [{name: AWS_ACCESS_KEY_ID, value: k}, {name: AWS_SECRET_ACCESS_KEY, value: s}, {name: S3_ENDPOINT, value: minio}, {name: S3_USE_HTTPS, value: '0'}, " +
				"{name: AWS_ENDPOINT_URL, value: 'http://minio'}]",
		},
		"a key file that the server mounts": {
			"{volumes: [{name: key, secret: {secretName: key}}], model: {modelFormat: {name: sklearn}, storageUri: 'gs://a/b', " +
				"env: [{name: GOOGLE_APPLICATION_CREDENTIALS, value: /etc/key/file.json}], volumeMounts: [{name: key, mountPath: /etc/key}]}}",
			Credentials{},
			"env: [{name: GOOGLE_APPLICATION_CREDENTIALS, value: /etc/key/file.json}]\n" +
				"volumeMounts: [{name: kserve-provision-location, mountPath: /mnt/models}, {name: key, mountPath: /etc/key}]",
		},
		"a key file in the server's image": {
			"{model: {modelFormat: {name: sklearn}, storageUri: 'gs://a/b', env: [{name: GOOGLE_APPLICATION_CREDENTIALS, value: /etc/key/file.json}]}}",
			Credentials{},
			"{}",
		},
		"a service account without a role": {
			"{model: {modelFormat: {name: sklearn}, storageUri: 's3://a/b'}}",
			account(Secret{}, map[string]string{
				"serving.kserve.io/s3-endpoint": "minio", "serving.kserve.io/s3-usehttps": "0", "serving.kserve.io/s3-region": "r",
			}),
			"env: [{name: S3_USE_HTTPS, value: '0'}, {name: S3_ENDPOINT, value: minio}, {name: AWS_ENDPOINT_URL, value: 'http://minio'}, {name: AWS_DEFAULT_REGION, value: r}]",
		},
		"a Secret overrides its service account": {
			"{model: {modelFormat: {name: sklearn}, storageUri: 's3://a/b'}}",
			account(
				Secret{Name: "s3", Keys: []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, Annotations: map[string]string{"serving.kserve.io/s3-region": "own"}},
				map[string]string{"serving.kserve.io/s3-endpoint": "minio", "serving.kserve.io/s3-region": "r"},
			),
			"env: [{name: S3_ENDPOINT, value: minio}, {name: AWS_ENDPOINT_URL, value: 'https://minio'}, {name: AWS_DEFAULT_REGION, value: own}, " +
				"{name: AWS_ACCESS_KEY_ID, valueFrom: {secretKeyRef: {name: s3, key: AWS_ACCESS_KEY_ID}}}, " +
				"{name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: s3, key: AWS_SECRET_ACCESS_KEY}}}]",
		},
	}
	runtimes := cluster(
		runtimeFrom(t, "sklearn", sklearnRuntime),
		runtimeFrom(t, "huggingface", "supportedModelFormats: [{name: huggingface, autoSelect: true}]\ncontainers: [{name: kserve-container}]"),
	)
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			revision, err := resolve(t, isvcFrom(t, test.predictor), runtimes).Render(test.credentials)
			if err != nil {
				t.Fatal(err)
			}
			got, want := revision.Template.Spec.InitContainers[0], containerFrom(t, test.want)
			env := slices.DeleteFunc(got.Env, func(v corev1.EnvVar) bool {
				return strings.HasPrefix(v.Name, "HF_HUB_ENABLE") || strings.HasPrefix(v.Name, "HF_XET")
			})
			if diff := cmp.Diff(want.Env, env, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("env (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want.EnvFrom, got.EnvFrom); diff != "" {
				t.Errorf("envFrom (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want.VolumeMounts, got.VolumeMounts); want.VolumeMounts != nil && diff != "" {
				t.Errorf("volumeMounts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCredentialsOverrideConfiguredVariables(t *testing.T) {
	isvc := isvcFrom(t, "model: {modelFormat: {name: sklearn}, storageUri: \"s3://bucket/model\", storage: {key: minio}}")
	settings := defaultSettings()
	settings.StorageInitializer.Env = map[string]string{"AWS_ENDPOINT_URL": "http://everywhere", "STORAGE_CONFIG": "configured"}
	resolved, err := Resolve(isvc, shippedRuntimes(t), settings)
	if err != nil {
		t.Fatal(err)
	}
	secret := SecretOf(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "storage-config"}, Data: map[string][]byte{"minio": []byte(`{"type": "s3"}`)},
	})
	revision, err := resolved.Render(Credentials{Secret: &secret})
	if err != nil {
		t.Fatal(err)
	}
	env := revision.Template.Spec.InitContainers[0].Env
	if got := envValue(env, "AWS_ENDPOINT_URL"); got != "http://everywhere" {
		t.Errorf("AWS_ENDPOINT_URL is %q", got)
	}
	if got := envValue(env, "STORAGE_CONFIG"); got == "configured" {
		t.Error("the configuration overrides the entry of the Secret")
	}
}
