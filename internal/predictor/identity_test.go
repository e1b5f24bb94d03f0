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

// TestGoldenIdentities pins identities that clusters hold in their records. A
// value in this table is never changed: an operator that computed another one
// would load every model again.
func TestGoldenIdentities(t *testing.T) {
	runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
	runtime.Annotations = map[string]string{annotationServerType: "sklearnserver"}
	cases := map[string]struct {
		predictor   string
		labels      map[string]string
		annotations map[string]string
		wantInputs  string
		wantSpec    string
	}{
		"a model": {
			predictor:  `{model: {modelFormat: {name: sklearn}, storageUri: "gs://kfserving-examples/models/sklearn/1.0/model"}}`,
			wantInputs: "37ce1b39158af0fa",
			wantSpec:   "2d1a391e41749165",
		},
		"another model": {
			predictor:  `{model: {modelFormat: {name: sklearn}, storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"}}`,
			wantInputs: "4012bd6e32cef638",
			wantSpec:   "e7e98688cc077092",
		},
		"tag routing": {
			predictor:   `{model: {modelFormat: {name: sklearn}, storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"}}`,
			annotations: map[string]string{v1beta1.AnnotationEnableTagRouting: "true"},
			wantInputs:  "1099569dc544a0a5",
			wantSpec:    "b6f390fbae1497be",
		},
		"a legacy field": {
			predictor:  `{huggingface: {storageUri: "hf://org/model"}}`,
			wantInputs: "24692db8f32c5d63",
			wantSpec:   "734760bcf301b1a8",
		},
		"a container": {
			predictor:  `{containers: [{name: kserve-container, image: "example.com/server:1", ports: [{containerPort: 8080, protocol: TCP}]}]}`,
			labels:     map[string]string{"team": "blue"},
			wantInputs: "dca677dd2366c15e",
			wantSpec:   "dca677dd2366c15e",
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
			wantInputs:  "f608ff96880e7438",
			wantSpec:    "9eddfac4052a4728",
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			isvc := isvcFrom(t, test.predictor)
			isvc.Labels, isvc.Annotations = test.labels, test.annotations
			resolved := resolve(t, isvc, cluster(runtime))
			if resolved.Inputs != test.wantInputs || resolved.SpecInputs != test.wantSpec {
				t.Errorf("got  Inputs %s, SpecInputs %s\nwant Inputs %s, SpecInputs %s",
					resolved.Inputs, resolved.SpecInputs, test.wantInputs, test.wantSpec)
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

// given is what a revision comes from.
type given struct {
	isvc     *v1beta1.InferenceService
	runtime  *v1alpha1.ClusterServingRuntime
	settings Settings
}

func TestWhatMakesARevision(t *testing.T) {
	makes := map[string]func(*given){
		"storageUri":     func(g *given) { g.isvc.Spec.Predictor.Model.StorageURI = new("gs://models/other") },
		"an argument":    func(g *given) { g.isvc.Spec.Predictor.Model.Args = []string{"--b"} },
		"a variable":     func(g *given) { g.isvc.Spec.Predictor.Model.Env[0].Value = "c" },
		"runtimeVersion": func(g *given) { g.isvc.Spec.Predictor.Model.RuntimeVersion = new("2") },
		"timeout":        func(g *given) { g.isvc.Spec.Predictor.TimeoutSeconds = new(int64(5)) },
		"a label":        func(g *given) { g.isvc.Labels["team"] = "red" },
		"a new label":    func(g *given) { g.isvc.Labels["new"] = "" },
		"an annotation":  func(g *given) { g.isvc.Annotations["purpose"] = "prod" },
		"tag routing": func(g *given) {
			g.isvc.Annotations[v1beta1.AnnotationEnableTagRouting] = "true"
		},
		"the secret for storage": func(g *given) {
			g.isvc.Annotations[v1beta1.AnnotationStorageSecretName] = "mine"
		},
		"a label of the predictor": func(g *given) {
			g.isvc.Spec.Predictor.Labels = map[string]string{"app.kubernetes.io/instance": "wanted"}
		},
		"false where nothing was said": func(g *given) {
			g.isvc.Spec.Predictor.AutomountServiceAccountToken = new(false)
		},
		"the runtime's image":       func(g *given) { g.runtime.Spec.Containers[0].Image = "other:1" },
		"the runtime's labels":      func(g *given) { g.runtime.Spec.Labels["server"] = "x" },
		"the runtime's server type": func(g *given) { g.runtime.Annotations[annotationServerType] = "mlserver" },
		"the runtime's name":        func(g *given) { g.runtime.Name = "other" },
	}
	makesNone := map[string]func(*given){
		"nothing":              func(*given) {},
		"canaryTrafficPercent": func(g *given) { g.isvc.Spec.Predictor.CanaryTrafficPercent = new(int64(0)) },
		"minReplicas":          func(g *given) { g.isvc.Spec.Predictor.MinReplicas = new(int32(3)) },
		"stop":                 func(g *given) { g.isvc.Annotations[v1beta1.AnnotationStop] = "true" },
		"the deployment mode":  func(g *given) { g.isvc.Annotations[v1beta1.AnnotationDeploymentMode] = "Standard" },
		"the autoscaler": func(g *given) {
			g.isvc.Annotations[v1beta1.AnnotationAutoscalerClass] = "external"
			g.isvc.Annotations[v1beta1.AnnotationMetrics] = "memory"
			g.isvc.Annotations[v1beta1.AnnotationTargetUtilizationPercentage] = "50"
			g.isvc.Annotations["autoscaling.knative.dev/min-scale"] = "2"
		},
		"no automatic updates": func(g *given) { g.isvc.Annotations[v1beta1.AnnotationDisableAutoUpdate] = "true" },
		"visibility":           func(g *given) { g.isvc.Labels[v1beta1.LabelNetworkVisibility] = "cluster-local" },
		"what the operator itself sets": func(g *given) {
			g.isvc.Labels[v1beta1.LabelInferenceService] = "x"
			g.isvc.Labels[v1beta1.LabelRevision] = "x"
			g.isvc.Labels[v1beta1.LabelComponent] = "x"
		},
		"what KServe leaves behind": func(g *given) {
			g.isvc.Annotations["modelFormat"] = "sklearn"
			g.isvc.Annotations["internal.serving.kserve.io/localmodel-sourceuri"] = "x"
			g.isvc.Labels["internal.serving.kserve.io/localmodel"] = "x"
		},
		"kubectl": func(g *given) { g.isvc.Annotations["kubectl.kubernetes.io/last-applied-configuration"] = "{}" },
		"Argo CD": func(g *given) {
			g.isvc.Annotations["argocd.argoproj.io/tracking-id"] = "x"
			g.isvc.Labels["app.kubernetes.io/instance"] = "x"
		},
		"Flux": func(g *given) {
			g.isvc.Labels["kustomize.toolkit.fluxcd.io/name"] = "x"
			g.isvc.Annotations["kustomize.toolkit.fluxcd.io/reconcile"] = "x"
		},
		"Helm": func(g *given) {
			g.isvc.Labels["app.kubernetes.io/managed-by"] = "Helm"
			g.isvc.Labels["helm.sh/chart"] = "models-1.2.3"
			g.isvc.Labels["velero.io/restore-name"] = "x"
			g.isvc.Labels["skaffold.dev/run-id"] = "x"
			g.isvc.Annotations["meta.helm.sh/release-name"] = "x"
		},
		"what the settings exclude": func(g *given) {
			g.isvc.Labels["cost.example.com/center"] = "1"
			g.isvc.Annotations["note"] = "x"
			g.isvc.Spec.Predictor.Annotations = map[string]string{"note": "y"}
		},
		"nil and empty": func(g *given) {
			g.isvc.Spec.Predictor.NodeSelector = map[string]string{}
			g.isvc.Spec.Predictor.Model.Ports = nil
			g.isvc.Spec.Predictor.Model.Command = []string{}
		},
		"a label that moves to the predictor": func(g *given) {
			delete(g.isvc.Labels, "team")
			g.isvc.Spec.Predictor.Labels = map[string]string{"team": "blue"}
		},
		"the runtime that is picked anyway, named": func(g *given) {
			g.isvc.Spec.Predictor.Model.Runtime = new("sklearn")
		},
		"the name of the container": func(g *given) {
			g.isvc.Spec.Predictor.Model.Name = v1beta1.ServingContainerName
		},
		"the default protocol of a port": func(g *given) {
			g.runtime.Spec.Containers[0].Ports[0].Protocol = ""
		},
		"another spelling of a quantity": func(g *given) {
			g.runtime.Spec.Containers[0].Resources.Requests["cpu"] = resource.MustParse("1000m")
		},
		"who else may use the runtime": func(g *given) {
			g.runtime.Spec.SupportedModelFormats = append(g.runtime.Spec.SupportedModelFormats, v1alpha1.SupportedModelFormat{Name: "xgboost"})
			g.runtime.Spec.SupportedModelFormats[0].Priority = new(int32(7))
			g.runtime.Spec.ProtocolVersions = append(g.runtime.Spec.ProtocolVersions, v1beta1.ProtocolGRPCV2)
		},
		"the runtime's metadata": func(g *given) {
			g.runtime.ResourceVersion = "7"
			g.runtime.Generation = 7
			g.runtime.CreationTimestamp = metav1.Unix(7, 0)
			g.runtime.Labels = map[string]string{"x": "y"}
			g.runtime.Annotations["x"] = "y"
		},
		"the settings": func(g *given) {
			g.settings.StorageInitializer.Image = "other:1"
			g.settings.StorageInitializer.UID = new(int64(7))
			g.settings.StorageInitializer.Env = map[string]string{"A": "b"}
			g.settings.Resources.Limits = nil
			g.settings.Credentials.S3.Endpoint = "minio"
		},
		"an exclusion of what is not there": func(g *given) {
			g.settings.ExcludedLabels = append(g.settings.ExcludedLabels, "other.example.com/*")
		},
	}
	before := inputsAfter(t, func(*given) {})
	for name, edit := range makes {
		if after := inputsAfter(t, edit); after == before {
			t.Errorf("%s: should make a revision", name)
		}
	}
	for name, edit := range makesNone {
		if after := inputsAfter(t, edit); after != before {
			t.Errorf("%s: should make no revision", name)
		}
	}
}

func inputsAfter(t *testing.T, edit func(*given)) string {
	t.Helper()
	isvc := isvcFrom(t, irisPredictor)
	isvc.Labels = map[string]string{"team": "blue"}
	isvc.Annotations = map[string]string{"purpose": "test"}
	runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
	runtime.Annotations = map[string]string{annotationServerType: "sklearnserver"}
	settings := defaultSettings()
	settings.ExcludedLabels = []string{"cost.example.com/*"}
	settings.ExcludedAnnotations = []string{"note"}
	g := &given{isvc: isvc, runtime: runtime, settings: settings}
	edit(g)
	resolved, err := Resolve(g.isvc, cluster(g.runtime), g.settings)
	if err != nil {
		t.Fatal(err)
	}
	if len(resolved.Inputs) != 16 || strings.Trim(resolved.Inputs, "0123456789abcdef") != "" {
		t.Errorf("Inputs is %q, not 16 hexadecimal digits", resolved.Inputs)
	}
	return resolved.Inputs
}

// TestSpecInputsKnowNothingOfTheRuntime: with them a revision stays while its
// runtime changes, or goes.
func TestSpecInputsKnowNothingOfTheRuntime(t *testing.T) {
	isvc := isvcFrom(t, irisPredictor)
	runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
	before := resolve(t, isvc, cluster(runtime))

	changed := runtimeFrom(t, "sklearn", strings.Replace(sklearnRuntime, "v0.20.0", "v0.21.0", 1))
	after := resolve(t, isvc, cluster(changed))
	if before.SpecInputs != after.SpecInputs || before.Inputs == after.Inputs {
		t.Errorf("after a change of the runtime: SpecInputs %s → %s, Inputs %s → %s",
			before.SpecInputs, after.SpecInputs, before.Inputs, after.Inputs)
	}
	if !before.Identity.EqualSpec(after.Identity) || before.Identity.Equal(after.Identity) {
		t.Error("after a change of the runtime, the identities should be equal but for the runtime")
	}

	gone, err := Resolve(isvc, Runtimes{}, defaultSettings())
	if err == nil || gone == nil {
		t.Fatalf("without the runtime: got %v, %v; want both an answer and an error", gone, err)
	}
	if gone.SpecInputs != before.SpecInputs || gone.Inputs != "" {
		t.Errorf("without the runtime: SpecInputs %s, Inputs %q; want %s and none", gone.SpecInputs, gone.Inputs, before.SpecInputs)
	}

	isvc.Spec.Predictor.Model.Runtime = new("sklearn")
	named := resolve(t, isvc, cluster(runtime))
	if named.SpecInputs == before.SpecInputs || before.Identity.EqualSpec(named.Identity) {
		t.Error("to name a runtime is a change of the spec")
	}
}

// TestExclusionsMakeNoRevisions: the settings may change in both directions
// while revisions run.
func TestExclusionsMakeNoRevisions(t *testing.T) {
	with := func(excluded []string, labels map[string]string) Identity {
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
		return stored(t, resolved.Identity)
	}
	exclude := []string{"example.com/*"}
	labelled := map[string]string{"example.com/owner": "me", "team": "blue"}
	relabelled := map[string]string{"example.com/owner": "you", "team": "blue"}
	otherwise := map[string]string{"example.com/owner": "me", "team": "red"}

	cases := map[string]struct {
		made, now Identity
		want      bool
	}{
		"unchanged":                      {with(nil, labelled), with(nil, labelled), true},
		"excluded now":                   {with(nil, labelled), with(exclude, labelled), true},
		"excluded now, and changed":      {with(nil, labelled), with(exclude, relabelled), true},
		"no longer excluded":             {with(exclude, labelled), with(nil, labelled), true},
		"no longer excluded and changed": {with(exclude, labelled), with(nil, relabelled), true},
		"never excluded and changed":     {with(nil, labelled), with(nil, relabelled), false},
		"another one changed":            {with(exclude, labelled), with(exclude, otherwise), false},
		"all excluded":                   {with([]string{"*"}, labelled), with([]string{"*"}, otherwise), true},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if got := test.made.Equal(test.now); got != test.want {
				t.Errorf("Equal: got %v, want %v", got, test.want)
			}
			if got := test.now.Equal(test.made); got != test.want {
				t.Errorf("Equal, the other way round: got %v, want %v", got, test.want)
			}
		})
	}
}

// stored returns an identity as it comes back out of a record.
func stored(t *testing.T, identity Identity) Identity {
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

// TestEveryFieldOfThePredictorIsDecidedOn fails when the API gets a field: it
// then says whether the field makes revisions.
func TestEveryFieldOfThePredictorIsDecidedOn(t *testing.T) {
	makesNone := []string{
		"annotations", "canaryTrafficPercent", "deploymentStrategy", "labels",
		"maxReplicas", "minReplicas", "scaleMetric", "scaleTarget",
	}
	var found []string
	for name, index := range fieldsOf(reflect.TypeFor[v1beta1.PredictorSpec](), nil) {
		var spec v1beta1.PredictorSpec
		fill(reflect.ValueOf(&spec).Elem().FieldByIndex(index))
		if string(canonical(hashedSpec(spec))) == "de" {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	if !slices.Equal(found, makesNone) {
		t.Errorf("these fields make no revision: %v; want %v", found, makesNone)
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
