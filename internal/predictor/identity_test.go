// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

// TestGoldenHashes pins hashes that are stored in clusters. Never change a value in this table: an
// operator that computes a different hash reloads every model.
func TestGoldenHashes(t *testing.T) {
	runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
	runtime.Annotations = map[string]string{annotationServerType: "sklearnserver"}
	cases := map[string]struct {
		predictor   string
		labels      map[string]string
		annotations map[string]string
		wantHash    string
		wantSpec    string
	}{
		"a model": {
			predictor: `{model: {modelFormat: {name: sklearn}, storageUri: "gs://kfserving-examples/models/sklearn/1.0/model"}}`,
			wantHash:  "37ce1b39158af0fa",
			wantSpec:  "2d1a391e41749165",
		},
		"another model": {
			predictor: `{model: {modelFormat: {name: sklearn}, storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"}}`,
			wantHash:  "4012bd6e32cef638",
			wantSpec:  "e7e98688cc077092",
		},
		"tag routing": {
			predictor:   `{model: {modelFormat: {name: sklearn}, storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"}}`,
			annotations: map[string]string{v1beta1.AnnotationEnableTagRouting: "true"},
			wantHash:    "1099569dc544a0a5",
			wantSpec:    "b6f390fbae1497be",
		},
		"a legacy field": {
			predictor: `{huggingface: {storageUri: "hf://org/model"}}`,
			wantHash:  "24692db8f32c5d63",
			wantSpec:  "734760bcf301b1a8",
		},
		"a container": {
			predictor: `{containers: [{name: kserve-container, image: "example.com/server:1", ports: [{containerPort: 8080, protocol: TCP}]}]}`,
			labels:    map[string]string{"team": "blue"},
			wantHash:  "dca677dd2366c15e",
			wantSpec:  "dca677dd2366c15e",
		},
		"many fields": {
			predictor: `
model:
  modelFormat: {name: sklearn, version: "1"}
  protocolVersion: v2
  runtime: sklearn
  runtimeVersion: v0.20.0
  args: [--workers=2, "--name={{.Name}}"]
  env: [{name: A, value: b}, {name: C, valueFrom: {secretKeyRef: {name: s, key: k}}}]
  resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {nvidia.com/gpu: "1"}}
  livenessProbe: {httpGet: {path: /live, port: 8080}, periodSeconds: 5}
  storage: {key: minio, path: iris, parameters: {type: s3, bucket: models}}
canaryTrafficPercent: 10
minReplicas: 2
maxReplicas: 4
scaleMetric: cpu
scaleTarget: 70
timeout: 30
containerConcurrency: 2
labels: {tier: gold}
annotations: {note: x}
serviceAccountName: runner
nodeSelector: {zone: a}
tolerations: [{key: gpu, operator: Exists}]
volumes: [{name: v, emptyDir: {sizeLimit: 1Gi}}]
affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {}}]}}
automountServiceAccountToken: false
terminationGracePeriodSeconds: 0`,
			labels:      map[string]string{"team": "blue", "app.kubernetes.io/instance": "x"},
			annotations: map[string]string{"purpose": "test", "serving.kserve.io/stop": "false"},
			wantHash:    "f608ff96880e7438",
			wantSpec:    "9eddfac4052a4728",
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			isvc := isvcFrom(t, test.predictor)
			isvc.Labels, isvc.Annotations = test.labels, test.annotations
			resolved := resolve(t, isvc, cluster(runtime))
			if resolved.Hash != test.wantHash || resolved.SpecHash != test.wantSpec {
				t.Errorf("got  Hash %s, SpecHash %s\nwant Hash %s, SpecHash %s",
					resolved.Hash, resolved.SpecHash, test.wantHash, test.wantSpec)
			}
		})
	}
}

const sklearnRuntime = `
supportedModelFormats: [{name: sklearn, version: "1", autoSelect: true, priority: 1}, {name: huggingface, autoSelect: true}]
protocolVersions: [v1, v2]
labels: {server: sklearn}
annotations: {prometheus.kserve.io/port: "8080"}
nodeSelector: {pool: models}
containers:
  - name: kserve-container
    image: kserve/sklearnserver:v0.20.0
    args: ["--model_name={{.Name}}", --model_dir=/mnt/models]
    ports: [{containerPort: 8080, protocol: TCP}]
    resources: {requests: {cpu: "1", memory: 2Gi}}
`

const irisPredictor = `{model: {modelFormat: {name: sklearn}, storageUri: "gs://models/iris", args: [--a], env: [{name: A, value: b}]}}`

type hashedObjects struct {
	isvc     *v1beta1.InferenceService
	runtime  *v1alpha1.ClusterServingRuntime
	settings Settings
}

func TestWhichChangesCreateARevision(t *testing.T) {
	creates := map[string]func(*hashedObjects){
		"storageUri":     func(o *hashedObjects) { o.isvc.Spec.Predictor.Model.StorageURI = new("gs://models/other") },
		"an argument":    func(o *hashedObjects) { o.isvc.Spec.Predictor.Model.Args = []string{"--b"} },
		"a variable":     func(o *hashedObjects) { o.isvc.Spec.Predictor.Model.Env[0].Value = "c" },
		"runtimeVersion": func(o *hashedObjects) { o.isvc.Spec.Predictor.Model.RuntimeVersion = new("2") },
		"timeout":        func(o *hashedObjects) { o.isvc.Spec.Predictor.TimeoutSeconds = new(int64(5)) },
		"a label":        func(o *hashedObjects) { o.isvc.Labels["team"] = "red" },
		"a new label":    func(o *hashedObjects) { o.isvc.Labels["new"] = "" },
		"an annotation":  func(o *hashedObjects) { o.isvc.Annotations["purpose"] = "prod" },
		"tag routing": func(o *hashedObjects) {
			o.isvc.Annotations[v1beta1.AnnotationEnableTagRouting] = "true"
		},
		"the storage secret": func(o *hashedObjects) {
			o.isvc.Annotations[v1beta1.AnnotationStorageSecretName] = "mine"
		},
		"a label of the predictor": func(o *hashedObjects) {
			o.isvc.Spec.Predictor.Labels = map[string]string{"app.kubernetes.io/instance": "x"}
		},
		"false instead of absent": func(o *hashedObjects) {
			o.isvc.Spec.Predictor.AutomountServiceAccountToken = new(false)
		},
		"the runtime's image":       func(o *hashedObjects) { o.runtime.Spec.Containers[0].Image = "other:1" },
		"the runtime's labels":      func(o *hashedObjects) { o.runtime.Spec.Labels["server"] = "x" },
		"the runtime's server type": func(o *hashedObjects) { o.runtime.Annotations[annotationServerType] = "mlserver" },
		"the runtime's name":        func(o *hashedObjects) { o.runtime.Name = "other" },
	}
	createsNone := map[string]func(*hashedObjects){
		"nothing":              func(*hashedObjects) {},
		"canaryTrafficPercent": func(o *hashedObjects) { o.isvc.Spec.Predictor.CanaryTrafficPercent = new(int64(0)) },
		"minReplicas":          func(o *hashedObjects) { o.isvc.Spec.Predictor.MinReplicas = new(int32(3)) },
		"stop":                 func(o *hashedObjects) { o.isvc.Annotations[v1beta1.AnnotationStop] = "true" },
		"the deployment mode":  func(o *hashedObjects) { o.isvc.Annotations[v1beta1.AnnotationDeploymentMode] = "Standard" },
		"the autoscaler": func(o *hashedObjects) {
			o.isvc.Annotations[v1beta1.AnnotationAutoscalerClass] = "external"
			o.isvc.Annotations[v1beta1.AnnotationMetrics] = "memory"
			o.isvc.Annotations[v1beta1.AnnotationTargetUtilizationPercentage] = "50"
			o.isvc.Annotations["autoscaling.knative.dev/min-scale"] = "2"
		},
		"no automatic updates": func(o *hashedObjects) { o.isvc.Annotations[v1beta1.AnnotationDisableAutoUpdate] = "true" },
		"visibility":           func(o *hashedObjects) { o.isvc.Labels[v1beta1.LabelNetworkVisibility] = "cluster-local" },
		"labels that the operator sets": func(o *hashedObjects) {
			o.isvc.Labels[v1beta1.LabelInferenceService] = "x"
			o.isvc.Labels[v1beta1.LabelRevision] = "x"
			o.isvc.Labels[v1beta1.LabelComponent] = "x"
		},
		"KServe's internal keys": func(o *hashedObjects) {
			o.isvc.Annotations["modelFormat"] = "sklearn"
			o.isvc.Annotations["internal.serving.kserve.io/localmodel-sourceuri"] = "x"
			o.isvc.Labels["internal.serving.kserve.io/localmodel"] = "x"
		},
		"kubectl": func(o *hashedObjects) { o.isvc.Annotations["kubectl.kubernetes.io/last-applied-configuration"] = "{}" },
		"Argo CD": func(o *hashedObjects) {
			o.isvc.Annotations["argocd.argoproj.io/tracking-id"] = "x"
			o.isvc.Labels["app.kubernetes.io/instance"] = "x"
		},
		"Flux": func(o *hashedObjects) {
			o.isvc.Labels["kustomize.toolkit.fluxcd.io/name"] = "x"
			o.isvc.Annotations["kustomize.toolkit.fluxcd.io/reconcile"] = "x"
		},
		"Helm": func(o *hashedObjects) {
			o.isvc.Labels["app.kubernetes.io/managed-by"] = "Helm"
			o.isvc.Labels["helm.sh/chart"] = "models-1.2.3"
			o.isvc.Labels["velero.io/restore-name"] = "x"
			o.isvc.Labels["skaffold.dev/run-id"] = "x"
			o.isvc.Annotations["meta.helm.sh/release-name"] = "x"
		},
		"excluded keys": func(o *hashedObjects) {
			o.isvc.Labels["cost.example.com/center"] = "1"
			o.isvc.Annotations["note"] = "x"
			o.isvc.Spec.Predictor.Annotations = map[string]string{"note": "y"}
		},
		"nil and empty": func(o *hashedObjects) {
			o.isvc.Spec.Predictor.NodeSelector = map[string]string{}
			o.isvc.Spec.Predictor.Model.Ports = nil
			o.isvc.Spec.Predictor.Model.Command = []string{}
		},
		"a label that moves to the predictor": func(o *hashedObjects) {
			delete(o.isvc.Labels, "team")
			o.isvc.Spec.Predictor.Labels = map[string]string{"team": "blue"}
		},
		"naming the runtime that is picked anyway": func(o *hashedObjects) {
			o.isvc.Spec.Predictor.Model.Runtime = new("sklearn")
		},
		"the name of the container": func(o *hashedObjects) {
			o.isvc.Spec.Predictor.Model.Name = v1beta1.ServingContainerName
		},
		"the default protocol of a port": func(o *hashedObjects) {
			o.runtime.Spec.Containers[0].Ports[0].Protocol = ""
		},
		"a quantity in another unit": func(o *hashedObjects) {
			o.runtime.Spec.Containers[0].Resources.Requests["cpu"] = resource.MustParse("1000m")
		},
		"other formats and protocols of the runtime": func(o *hashedObjects) {
			o.runtime.Spec.SupportedModelFormats = append(o.runtime.Spec.SupportedModelFormats, v1alpha1.SupportedModelFormat{Name: "xgboost"})
			o.runtime.Spec.SupportedModelFormats[0].Priority = new(int32(7))
			o.runtime.Spec.ProtocolVersions = append(o.runtime.Spec.ProtocolVersions, v1beta1.ProtocolGRPCV2)
		},
		"the runtime's metadata": func(o *hashedObjects) {
			o.runtime.ResourceVersion = "7"
			o.runtime.Generation = 7
			o.runtime.CreationTimestamp = metav1.Unix(7, 0)
			o.runtime.Labels = map[string]string{"x": "y"}
			o.runtime.Annotations["x"] = "y"
		},
		"the settings": func(o *hashedObjects) {
			o.settings.StorageInitializer.Image = "other:1"
			o.settings.StorageInitializer.UID = new(int64(7))
			o.settings.StorageInitializer.Env = map[string]string{"A": "b"}
			o.settings.Resources.Limits = nil
			o.settings.Credentials.S3.Endpoint = "minio"
		},
		"an exclusion without a matching key": func(o *hashedObjects) {
			o.settings.ExcludedLabels = append(o.settings.ExcludedLabels, "other.example.com/*")
		},
	}
	before := hashAfter(t, func(*hashedObjects) {})
	for name, edit := range creates {
		if after := hashAfter(t, edit); after == before {
			t.Errorf("%s: should create a revision", name)
		}
	}
	for name, edit := range createsNone {
		if after := hashAfter(t, edit); after != before {
			t.Errorf("%s: should not create a revision", name)
		}
	}
}

func hashAfter(t *testing.T, edit func(*hashedObjects)) string {
	t.Helper()
	isvc := isvcFrom(t, irisPredictor)
	isvc.Labels = map[string]string{"team": "blue"}
	isvc.Annotations = map[string]string{"purpose": "test"}
	runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
	runtime.Annotations = map[string]string{annotationServerType: "sklearnserver"}
	settings := defaultSettings()
	settings.ExcludedLabels = []string{"cost.example.com/*"}
	settings.ExcludedAnnotations = []string{"note"}
	objects := &hashedObjects{isvc: isvc, runtime: runtime, settings: settings}
	edit(objects)
	resolved, err := Resolve(objects.isvc, cluster(objects.runtime), objects.settings)
	if err != nil {
		t.Fatal(err)
	}
	if len(resolved.Hash) != 16 || strings.Trim(resolved.Hash, "0123456789abcdef") != "" {
		t.Errorf("Hash is %q, not 16 hexadecimal digits", resolved.Hash)
	}
	return resolved.Hash
}

func TestSpecInputsDoNotDependOnTheRuntime(t *testing.T) {
	isvc := isvcFrom(t, irisPredictor)
	runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
	before := resolve(t, isvc, cluster(runtime))

	changed := runtimeFrom(t, "sklearn", strings.Replace(sklearnRuntime, "v0.20.0", "v0.21.0", 1))
	after := resolve(t, isvc, cluster(changed))
	if before.SpecHash != after.SpecHash || before.Hash == after.Hash {
		t.Errorf("after a change of the runtime: SpecHash %s → %s, Hash %s → %s",
			before.SpecHash, after.SpecHash, before.Hash, after.Hash)
	}
	if !before.Identity.EqualSpec(after.Identity) || before.Identity.Equal(after.Identity) {
		t.Error("after a change of the runtime, only the specs should be equal")
	}

	missing, err := Resolve(isvc, Runtimes{}, defaultSettings())
	if err == nil || missing == nil {
		t.Fatalf("without the runtime: got %v, %v; want a result and an error", missing, err)
	}
	if missing.SpecHash != before.SpecHash || missing.Hash != "" {
		t.Errorf("without the runtime: SpecHash %s, Hash %q; want %s and none", missing.SpecHash, missing.Hash, before.SpecHash)
	}

	isvc.Spec.Predictor.Model.Runtime = new("sklearn")
	named := resolve(t, isvc, cluster(runtime))
	if named.SpecHash == before.SpecHash || before.Identity.EqualSpec(named.Identity) {
		t.Error("naming a runtime should change the spec")
	}
}

func TestExclusionsDoNotCreateRevisions(t *testing.T) {
	identityOf := func(excluded []string, labels map[string]string) Identity {
		isvc := isvcFrom(t, irisPredictor)
		isvc.Labels = labels
		isvc.Annotations = labels
		isvc.Spec.Predictor.Labels = labels
		settings := defaultSettings()
		settings.ExcludedLabels, settings.ExcludedAnnotations = excluded, excluded
		resolved, err := Resolve(isvc, cluster(runtimeFrom(t, "sklearn", sklearnRuntime)), settings)
		if err != nil {
			t.Fatal(err)
		}
		return roundTrip(t, resolved.Identity)
	}
	exclude := []string{"example.com/*"}
	labelled := map[string]string{"example.com/owner": "me", "team": "blue"}
	relabelled := map[string]string{"example.com/owner": "you", "team": "blue"}
	otherTeam := map[string]string{"example.com/owner": "me", "team": "red"}

	cases := map[string]struct {
		stored, current Identity
		want            bool
	}{
		"unchanged":                      {identityOf(nil, labelled), identityOf(nil, labelled), true},
		"excluded now":                   {identityOf(nil, labelled), identityOf(exclude, labelled), true},
		"excluded now, and changed":      {identityOf(nil, labelled), identityOf(exclude, relabelled), true},
		"no longer excluded":             {identityOf(exclude, labelled), identityOf(nil, labelled), true},
		"no longer excluded and changed": {identityOf(exclude, labelled), identityOf(nil, relabelled), true},
		"never excluded and changed":     {identityOf(nil, labelled), identityOf(nil, relabelled), false},
		"another one changed":            {identityOf(exclude, labelled), identityOf(exclude, otherTeam), false},
		"all excluded":                   {identityOf([]string{"*"}, labelled), identityOf([]string{"*"}, otherTeam), true},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if got := test.stored.Equal(test.current); got != test.want {
				t.Errorf("Equal: got %v, want %v", got, test.want)
			}
			if got := test.current.Equal(test.stored); got != test.want {
				t.Errorf("Equal, reversed: got %v, want %v", got, test.want)
			}
		})
	}
}

func roundTrip(t *testing.T, identity Identity) Identity {
	t.Helper()
	text, err := json.Marshal(identity)
	if err != nil {
		t.Fatal(err)
	}
	var read Identity
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// TestFieldsThatDoNotCreateRevisions fails if the API gets another such field.
func TestFieldsThatDoNotCreateRevisions(t *testing.T) {
	want := []string{
		"annotations", "canaryTrafficPercent", "deploymentStrategy", "labels",
		"maxReplicas", "minReplicas", "scaleMetric", "scaleTarget",
	}
	var got []string
	for name, index := range fieldsOf(reflect.TypeFor[v1beta1.PredictorSpec](), nil) {
		var spec v1beta1.PredictorSpec
		fill(reflect.ValueOf(&spec).Elem().FieldByIndex(index))
		if string(canonical(hashedSpec(spec))) == "de" {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("fields that do not create a revision: got %v, want %v", got, want)
	}
}

func fieldsOf(t reflect.Type, prefix []int) map[string][]int {
	fields := map[string][]int{}
	for i := range t.NumField() {
		field := t.Field(i)
		index := append(slices.Clone(prefix), i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" {
			maps.Copy(fields, fieldsOf(field.Type, index))
			continue
		}
		fields[name] = index
	}
	return fields
}
