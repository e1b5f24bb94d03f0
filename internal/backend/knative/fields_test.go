// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servingconfig "knative.dev/serving/pkg/apis/config"
	"knative.dev/serving/pkg/apis/serving"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
)

var update = flag.Bool("update", false, "write podspec.json")

// crdOfKnative returns the pod schema in the CRD of Knative Services, in the version that the
// operator is built with.
func crdOfKnative(t *testing.T) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	folder, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "knative.dev/serving").Output()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(folder)), "config", "core", "300-resources", "service.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(file, &crd); err != nil {
		t.Fatal(err)
	}
	spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	return spec.Properties["template"].Properties["spec"]
}

func fieldsOf(schema apiextensionsv1.JSONSchemaProps) any {
	if schema.Items != nil {
		return fieldsOf(*schema.Items.Schema)
	}
	if schema.XPreserveUnknownFields != nil || len(schema.Properties) == 0 {
		return true
	}
	fields := map[string]any{}
	for name, property := range schema.Properties {
		fields[name] = fieldsOf(property)
	}
	return fields
}

func TestSchemaMatchesKnativeVersion(t *testing.T) {
	want, err := json.MarshalIndent(fieldsOf(crdOfKnative(t)), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("podspec.json", want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(schemaFile, want) && !*update {
		t.Error("podspec.json is not; write it with: go test ./internal/backend/knative -run Schema -update")
	}
}

// filled returns a pod with every field set, as deep as Knative validates.
func filled(t *testing.T) corev1.PodSpec {
	t.Helper()
	var pod corev1.PodSpec
	fill(reflect.ValueOf(&pod).Elem(), 9)
	return pod
}

func fill(value reflect.Value, depth int) {
	if depth == 0 || !value.CanSet() {
		return
	}
	if _, itself := reflect.TypeAssert[json.Marshaler](value.Addr()); itself {
		if err := json.Unmarshal([]byte(`"1"`), value.Addr().Interface()); err == nil {
			return
		}
	}
	switch value.Kind() {
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(value.Elem(), depth)
	case reflect.Struct:
		for _, field := range value.Fields() {
			fill(field, depth-1)
		}
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		fill(value.Index(0), depth)
	case reflect.Map:
		key, item := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
		fill(key, depth)
		fill(item, depth)
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(key, item)
	case reflect.String:
		value.SetString("x")
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		value.SetInt(1)
	default:
	}
}

// TestUnknownFieldsAreRefused compares with the API server's pruning of a pod that has every field.
func TestUnknownFieldsAreRefused(t *testing.T) {
	pod := filled(t)
	pruned := asMap(pod)
	lost := prune(t, pruned)
	if len(lost) < 40 {
		t.Fatalf("the API server leaves out %v only", lost)
	}
	var refused []string
	for _, path := range unknownFields(pod) {
		refused = append(refused, strings.NewReplacer("[x]", "[0]").Replace(path.String()))
	}
	slices.Sort(refused)
	if !slices.Equal(refused, lost) {
		t.Errorf("the API server leaves out\n%v\nand the operator refuses\n%v", lost, refused)
	}

	kept := withoutUnknownFields(pod)
	if left := unknownFields(kept); len(left) > 0 {
		t.Errorf("of a revision that is brought back, %v are left", left)
	}
	var want corev1.PodSpec
	if data, err := json.Marshal(pruned); err != nil || json.Unmarshal(data, &want) != nil || !reflect.DeepEqual(kept, want) {
		t.Error("a revision that is brought back is not what the API server leaves of it")
	}
}

func prune(t *testing.T, pod map[string]any) []string {
	t.Helper()
	v1 := crdOfKnative(t)
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, &internal, nil); err != nil {
		t.Fatal(err)
	}
	structural, err := structuralschema.NewStructural(&internal)
	if err != nil {
		t.Fatal(err)
	}
	lost := pruning.PruneWithOptions(pod, structural, false, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	slices.Sort(lost)
	return lost
}

func rendered(t *testing.T, isvc *v1beta1.InferenceService, runtime v1alpha1.ServingRuntimeSpec) backend.RenderedRevision {
	t.Helper()
	runtimes := predictor.Runtimes{Namespaced: []*v1alpha1.ServingRuntime{{ObjectMeta: metav1.ObjectMeta{Name: "lab", Namespace: namespace}, Spec: runtime}}}
	resolved, err := predictor.Resolve(isvc, runtimes, predictor.Settings{Mode: v1beta1.DeploymentModeKnative})
	if err != nil {
		t.Fatal(err)
	}
	runs, err := resolved.Render(predictor.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	return backend.RenderedRevision{Hash: resolved.Hash, Runs: runs}
}

const labRuntime = `
supportedModelFormats: [{name: lab, autoSelect: true}, {name: sklearn, autoSelect: true}]
containers:
- name: kserve-container
  image: registry.example.com/lab
`

func TestUnknownFieldSource(t *testing.T) {
	for name, test := range map[string]struct {
		predictor, runtime string
		want               []string
	}{
		"of a pod": {
			predictor: `{model: {modelFormat: {name: lab}}, hostname: model, terminationGracePeriodSeconds: 300, resourceClaims: [{name: gpu, resourceClaimTemplateName: one-gpu}]}`,
			want:      []string{"spec.predictor.hostname", "spec.predictor.resourceClaims", "spec.predictor.terminationGracePeriodSeconds"},
		},
		"of a model": {
			predictor: `{model: {modelFormat: {name: lab}, lifecycle: {preStop: {exec: {command: [sleep]}}}, resources: {claims: [{name: gpu}]}}}`,
			want:      []string{"spec.predictor.model.lifecycle", "spec.predictor.model.resources.claims"},
		},
		"of a framework": {
			predictor: `{sklearn: {lifecycle: {preStop: {exec: {command: [sleep]}}}}}`,
			want:      []string{"spec.predictor.sklearn.lifecycle"},
		},
		"of a container": {
			predictor: `{containers: [{name: kserve-container, image: a, ports: [{containerPort: 8080}]}, {name: side, image: b, volumeMounts: [{name: v, mountPath: /a, subPathExpr: x}]}], volumes: [{name: v, nfs: {server: a, path: b}}]}`,
			want:      []string{"spec.predictor.containers[side].volumeMounts[/a].subPathExpr", "spec.predictor.volumes[v].nfs"},
		},
		"of an only container without a name": {
			predictor: `{containers: [{image: a, tty: true}]}`,
			want:      []string{"spec.predictor.containers[0].tty"},
		},
		"of a runtime": {
			predictor: `{model: {modelFormat: {name: lab}}}`,
			runtime:   "  lifecycle: {preStop: {exec: {command: [sleep]}}}\n",
			want:      []string{`ServingRuntime "lab": spec.containers[kserve-container].lifecycle`},
		},
		"of both": {
			predictor: `{model: {modelFormat: {name: lab}, stdin: true}}`,
			runtime:   "  tty: true\n",
			want:      []string{"spec.predictor.model.stdin", `ServingRuntime "lab": spec.containers[kserve-container].tty`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			isvc := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Name: isvcName, Namespace: namespace}}
			var runtime v1alpha1.ServingRuntimeSpec
			for text, into := range map[string]any{test.predictor: &isvc.Spec.Predictor, labRuntime + test.runtime: &runtime} {
				if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
					t.Fatal(err)
				}
			}
			runs := rendered(t, isvc, runtime).Runs
			err := (&Backend{}).Check(isvc, runs.Runtime, &runs.Template.Spec)
			refusal, ok := errors.AsType[*predictor.Error](err)
			if !ok || refusal.Reason != v1beta1.InvalidPredictorSpec {
				t.Fatalf("the error is %v", err)
			}
			for _, field := range test.want {
				if !strings.Contains(err.Error(), field) {
					t.Errorf("%q does not name %s", err, field)
				}
			}
			if strings.Contains(strings.Join(test.want, ""), "ServingRuntime") != strings.Contains(err.Error(), "ServingRuntime") {
				t.Errorf("%q blames another object", err)
			}
		})
	}
}

// A refusal by the installed Knative names the fields of the InferenceService.
func TestRefusalsNameUserFields(t *testing.T) {
	for refusal, want := range map[string][]string{
		`strict decoding error: unknown field "spec.template.spec.containers[0].workingDir"`: {`"spec.predictor.containers[kserve-container].workingDir"`, "the installed Knative"},
		`validation failed: must not set the field(s): spec.template.spec.affinity, spec.template.spec.hostNetwork`: {
			"spec.predictor.affinity", "spec.predictor.hostNetwork", `"kubernetes.podspec-affinity":"enabled"`, `"kubernetes.podspec-hostnetwork":"enabled"`,
		},
		`validation failed: must not set the field(s): spec.template.spec.containers[0].securityContext.procMount`: {
			"spec.predictor.containers[kserve-container].securityContext.procMount", "remove it",
		},
		`validation failed: pod spec support for init-containers is off, but found 1 init containers: spec.template.spec`: {`"kubernetes.podspec-init-containers":"enabled"`},
	} {
		t.Run(refusal, func(t *testing.T) {
			u := newUser(t)
			u.rollOut("v1", promote)
			refused := apierrors.NewBadRequest(refusal)
			u.refuseTemplates(refused)
			u.apply("v2", promote, func(isvc *v1beta1.InferenceService) {
				isvc.Spec.Predictor.Affinity, isvc.Spec.Predictor.HostNetwork = &corev1.Affinity{}, true
				isvc.Spec.Predictor.Containers[0].WorkingDir = "/a"
				isvc.Spec.Predictor.Containers[0].SecurityContext = &corev1.SecurityContext{}
			})
			_, _, err := u.reconcile()
			if !errors.Is(err, refused) || !backend.IsRefusal(err) {
				t.Fatalf("the error is %v", err)
			}
			for _, text := range want {
				if text == "spec.predictor.containers[kserve-container].securityContext.procMount" {
					continue // The user has not set it.
				}
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %s", err, text)
				}
			}
			if strings.Contains(err.Error(), "spec.template.spec.") {
				t.Errorf("%q names fields that the user does not know", err)
			}
		})
	}
}

// TestRefusalsNameKnativeFeatures runs Knative's own webhook with each feature off. The message
// must name the feature.
func TestRefusalsNameKnativeFeatures(t *testing.T) {
	off, err := servingconfig.NewFeaturesConfigFromMap(map[string]string{
		servingconfig.FeaturePodSpecEmptyDir: "disabled", "multi-container": "disabled",
	})
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := servingconfig.NewDefaultsConfigFromMap(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := servingconfig.ToContext(t.Context(), &servingconfig.Config{Features: off, Defaults: defaults})
	for text, feature := range map[string]string{
		`affinity: {}`:                                  servingconfig.FeaturePodSpecAffinity,
		`dnsConfig: {}`:                                 servingconfig.FeaturePodSpecDNSConfig,
		`dnsPolicy: None`:                               servingconfig.FeaturePodSpecDNSPolicy,
		`hostAliases: [{ip: "1.2.3.4"}]`:                servingconfig.FeaturePodSpecHostAliases,
		`hostIPC: true`:                                 servingconfig.FeaturePodSpecHostIPC,
		`hostNetwork: true`:                             servingconfig.FeaturePodSpecHostNetwork,
		`hostPID: true`:                                 servingconfig.FeaturePodSpecHostPID,
		`initContainers: [{name: a, image: b}]`:         servingconfig.FeaturePodSpecInitContainers,
		`nodeSelector: {a: b}`:                          servingconfig.FeaturePodSpecNodeSelector,
		`priorityClassName: a`:                          servingconfig.FeaturePodSpecPriorityClassName,
		`runtimeClassName: a`:                           servingconfig.FeaturePodSpecRuntimeClassName,
		`schedulerName: a`:                              servingconfig.FeaturePodSpecSchedulerName,
		`securityContext: {runAsUser: 1}`:               servingconfig.FeaturePodSpecSecurityContext,
		`shareProcessNamespace: true`:                   servingconfig.FeaturePodSpecShareProcessNamespace,
		`tolerations: [{key: a}]`:                       servingconfig.FeaturePodSpecTolerations,
		`topologySpreadConstraints: [{topologyKey: a}]`: servingconfig.FeaturePodSpecTopologySpreadConstraints,
		`volumes: [{name: v, csi: {driver: a}}]`:        servingconfig.FeaturePodSpecVolumesCSI,
		`volumes: [{name: v, emptyDir: {}}]`:            servingconfig.FeaturePodSpecEmptyDir,
		`volumes: [{name: v, ephemeral: {}}]`:           servingconfig.FeaturePodSpecVolumesEphemeral,
		`volumes: [{name: v, hostPath: {path: /a}}]`:    servingconfig.FeaturePodSpecHostPath,
		`volumes: [{name: v, image: {reference: a}}]`:   servingconfig.FeaturePodSpecVolumesImage,
		`volumes: [{name: v, persistentVolumeClaim: {claimName: a, readOnly: true}}]`:                                                                 servingconfig.FeaturePodSpecPVClaim,
		`volumes: [{name: v, persistentVolumeClaim: {claimName: a}}]`:                                                                                 "kubernetes.podspec-persistent-volume-write",
		`containers: [{image: a, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]`:                                                               servingconfig.FeatureContainerSpecAddCapabilities,
		`containers: [{image: a, env: [{name: a, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}]`:                                               servingconfig.FeaturePodSpecFieldRef,
		`{containers: [{image: a, volumeMounts: [{name: v, mountPath: /v, mountPropagation: None}]}], volumes: [{name: v, secret: {secretName: a}}]}`: servingconfig.FeaturePodSpecVolumesMountPropagation,
		`containers: [{name: a, image: a, ports: [{containerPort: 1}]}, {name: b, image: b}]`:                                                         "multi-container",
	} {
		t.Run(feature, func(t *testing.T) {
			var pod corev1.PodSpec
			if err := yaml.UnmarshalStrict([]byte(text), &pod); err != nil {
				t.Fatal(err)
			}
			if len(pod.Containers) == 0 {
				pod.Containers = []corev1.Container{{Image: "a", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v", ReadOnly: true}}}}
				if len(pod.Volumes) == 0 {
					pod.Containers[0].VolumeMounts = nil
				}
			}
			refusal := serving.ValidatePodSpec(ctx, pod).ViaField("spec").ViaField("template").ViaField("spec")
			if refusal == nil {
				t.Fatal("Knative does not refuse it")
			}
			if found := featuresFor(refusal.Error()); !slices.Contains(found, feature) {
				t.Errorf("of %q, the features are %v", refusal.Error(), found)
			}
		})
	}
}
