// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serinus-io/serinus/test/knative/ingress"
)

// knativeFiles are the manifests of Knative Serving, by the module that has them.
// Within the module of Knative Serving, some of them are links to files of the
// other two, which a module cannot have.
var knativeFiles = []struct {
	module string
	globs  []string
}{
	{"knative.dev/serving", []string{
		"config/core/100-namespace.yaml", "config/core/200-serviceaccount.yaml", "config/core/200-roles/*.yaml",
		"config/core/300-resources/*.yaml", "config/core/configmaps/*.yaml", "config/core/webhooks/*.yaml",
		"config/core/deployments/*.yaml",
	}},
	{"knative.dev/networking", []string{"config/*.yaml"}},
	{"knative.dev/caching", []string{"config/*.yaml"}},
}

// knativeConfig is what is set in Knative's ConfigMaps. What waits in production
// is brief, as tests wait for it.
var knativeConfig = map[string]map[string]string{
	"config-autoscaler": {
		"stable-window":              "6s", // The least that there may be.
		"scale-to-zero-grace-period": "6s",
	},
	"config-deployment": {
		"queue-sidecar-image":               "dev.local/knative-queue:1",
		"queue-sidecar-cpu-request":         "10m",
		"queue-sidecar-memory-request":      "16Mi",
		"registries-skipping-tag-resolving": "dev.local",
	},
	"config-domain":          {"example.com": ""},
	"config-features":        {"kubernetes.podspec-init-containers": "enabled"},
	"config-leader-election": {"lease-duration": "15s", "renew-deadline": "10s", "retry-period": "2s"},
	// Without «disabled», the activator may take to probing the address of a revision's Service instead of its pods. When
	// a revision comes back while its last pod drains, it goes on asking that one, over a connection that it has kept,
	// and holds all requests for as long as it drains.
	"config-network": {"ingress-class": ingress.Class, "mesh-compatibility-mode": "disabled"},
}

// order is that of Knative's objects by their kind: what a program looks for when
// it starts comes before it. Kinds that are not here are left out: autoscalers and
// budgets of pods of which there is one each.
var order = []string{
	"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding",
	"CustomResourceDefinition", "ConfigMap", "Secret", "Service",
	"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "Deployment",
}

// knativeObjects returns the objects of Knative Serving, as they are for a cluster
// on one small node.
func knativeObjects(ctx context.Context) ([]*unstructured.Unstructured, error) {
	dirs, err := knativeDirs(ctx)
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	for _, part := range knativeFiles {
		for _, glob := range part.globs {
			objects, err := decodeFiles(filepath.Join(dirs[part.module], filepath.FromSlash(glob)))
			if err != nil {
				return nil, err
			}
			all = append(all, objects...)
		}
	}
	return arrange(all)
}

// knativeDirs tells where the modules are, of the versions that Knative's programs
// are built with. It downloads those that are not there.
func knativeDirs(ctx context.Context) (map[string]string, error) {
	root, err := moduleDir(ctx, "github.com/serinus-io/serinus")
	if err != nil {
		return nil, err
	}
	args := []string{"mod", "download", "-json"}
	for _, part := range knativeFiles {
		args = append(args, part.module)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(root, "hack", "tools", "knative")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("downloading the modules of Knative: %w: %s%s", err, out, complaints.String())
	}
	dirs := map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var module struct{ Path, Dir string }
		if err := decoder.Decode(&module); err != nil {
			return nil, err
		}
		dirs[module.Path] = module.Dir
	}
	return dirs, nil
}

func decodeFiles(glob string) ([]*unstructured.Unstructured, error) {
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		return nil, errors.Join(fmt.Errorf("there are no manifests %s", glob), err)
	}
	var all []*unstructured.Unstructured
	for _, file := range files {
		manifest, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		objects, err := Decode(manifest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, objects...)
	}
	return all, nil
}

// arrange makes Knative's objects what they are to be here, and sorts them.
func arrange(all []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	all = slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool { return !slices.Contains(order, o.GetKind()) })
	configured := 0
	for _, object := range all {
		var err error
		switch object.GetKind() {
		case "ConfigMap":
			if settings, found := knativeConfig[object.GetName()]; found {
				configured++
				err = configure(object, settings)
			}
		case "Deployment":
			err = shrink(object)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	if configured != len(knativeConfig) {
		return nil, fmt.Errorf("%d of %d ConfigMaps of Knative are there", configured, len(knativeConfig))
	}
	slices.SortStableFunc(all, func(a, b *unstructured.Unstructured) int {
		return slices.Index(order, a.GetKind()) - slices.Index(order, b.GetKind())
	})
	return all, nil
}

// configure changes settings, and leaves out the example, which is for readers.
func configure(configMap *unstructured.Unstructured, settings map[string]string) error {
	unstructured.RemoveNestedField(configMap.Object, "metadata", "annotations", "knative.dev/example-checksum")
	return unstructured.SetNestedStringMap(configMap.Object, settings, "data")
}

// shrink makes a Deployment use an image of the node, ask for as little of the
// machine as it needs at most times, and tell at once that it is ready.
func shrink(deployment *unstructured.Unstructured) error {
	path := []string{"spec", "template", "spec", "containers"}
	containers, _, err := unstructured.NestedSlice(deployment.Object, path...)
	if err != nil {
		return err
	}
	for _, one := range containers {
		container, ok := one.(map[string]any)
		if !ok {
			return fmt.Errorf("%v is not a container", one)
		}
		image, ok := container["image"].(string)
		program, found := strings.CutPrefix(image, "ko://knative.dev/serving/cmd/")
		if !ok || !found {
			return fmt.Errorf("the image %q is none that is built from Knative's sources", image)
		}
		container["image"] = "dev.local/knative-" + program + ":1"
		if probe, ok := container["readinessProbe"].(map[string]any); ok {
			probe["periodSeconds"] = int64(1)
		}
		container["resources"] = map[string]any{"requests": map[string]any{"cpu": "20m", "memory": "32Mi"}}
	}
	unstructured.RemoveNestedField(deployment.Object, "spec", "template", "spec", "affinity")
	return unstructured.SetNestedSlice(deployment.Object, containers, path...)
}
