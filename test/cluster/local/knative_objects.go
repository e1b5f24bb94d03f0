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

// knativeFiles are the manifests of Knative Serving by Go module. Knative's repository links to the
// manifests of the other two modules, but a Go module cannot contain symbolic links.
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

// knativeConfig are the settings in Knative's ConfigMaps. Periods are short because tests wait for
// them.
var knativeConfig = map[string]map[string]string{
	"config-autoscaler": {
		"stable-window":              "6s", // The minimum.
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
	// Unless mesh-compatibility-mode is "disabled", the activator may probe the address of a
	// revision's Service instead of its pods. If a revision scales up again while its last pod
	// drains, the activator keeps probing that pod over an existing connection, and holds all
	// requests until the drain ends.
	"config-network": {"ingress-class": ingress.Class, "mesh-compatibility-mode": "disabled"},
}

// kindOrder is the order in which Knative's objects are applied, so that programs find everything
// that they need when they start. Kinds that are not listed are not applied: autoscalers and
// disruption budgets make no sense for single pods.
var kindOrder = []string{
	"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding",
	"CustomResourceDefinition", "ConfigMap", "Secret", "Service",
	"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "Deployment",
}

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
	return prepareObjects(all)
}

// knativeDirs returns the folders of the modules in the versions that Knative's programs are built
// with. It downloads missing modules.
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
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("downloading the modules of Knative: %w: %s%s", err, out, stderr.String())
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
		return nil, errors.Join(fmt.Errorf("no manifests found in %s", glob), err)
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

func prepareObjects(all []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	all = slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool { return !slices.Contains(kindOrder, o.GetKind()) })
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
			err = adaptDeployment(object)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	if configured != len(knativeConfig) {
		return nil, fmt.Errorf("%d of %d ConfigMaps of Knative found", configured, len(knativeConfig))
	}
	slices.SortStableFunc(all, func(a, b *unstructured.Unstructured) int {
		return slices.Index(kindOrder, a.GetKind()) - slices.Index(kindOrder, b.GetKind())
	})
	return all, nil
}

// configure replaces the data of a ConfigMap, including its example, with settings.
func configure(configMap *unstructured.Unstructured, settings map[string]string) error {
	unstructured.RemoveNestedField(configMap.Object, "metadata", "annotations", "knative.dev/example-checksum")
	return unstructured.SetNestedStringMap(configMap.Object, settings, "data")
}

// adaptDeployment makes a Deployment use an image that is loaded into the node, request few
// resources, and become ready quickly.
func adaptDeployment(deployment *unstructured.Unstructured) error {
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
			return fmt.Errorf("the image %q is not built from Knative's sources", image)
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
