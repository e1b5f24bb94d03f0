// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	chartDir  = "serinus"
	configDir = "../config"
	namespace = "serinus-system"
)

// objects maps "kind namespace/name" to manifests.
type objects map[string]map[string]any

func (o objects) keys() []string { return slices.Sorted(maps.Keys(o)) }

// kustomizeBuild builds config/default with the named components.
func kustomizeBuild(t *testing.T, components ...string) objects {
	t.Helper()
	return kustomizeBuildOf(t, "default", components...)
}

// kustomizeBuildOf builds a folder of config.
func kustomizeBuildOf(t *testing.T, dir string, components ...string) objects {
	t.Helper()
	// The overlay is next to a copy of config/ in memory.
	files := filesys.MakeFsInMemory()
	err := fs.WalkDir(os.DirFS(configDir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(configDir, name))
		if err != nil {
			return err
		}
		return files.WriteFile(path.Join("/config", name), data)
	})
	if err != nil {
		t.Fatal(err)
	}
	overlay := types.Kustomization{Resources: []string{"../config/" + dir}}
	for _, component := range components {
		overlay.Components = append(overlay.Components, "../config/components/"+component)
	}
	kustomization, err := yaml.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := files.WriteFile("/overlay/kustomization.yaml", kustomization); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/overlay")
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

// render renders the chart as `helm template` does, without the notes.
func render(t *testing.T, values map[string]any) (objects, error) {
	t.Helper()
	files, err := renderFiles(t, values)
	if err != nil {
		return nil, err
	}
	rendered := objects{}
	for name, text := range files {
		if path.Ext(name) != ".yaml" {
			continue
		}
		for key, object := range decode(t, []byte(text)) {
			if _, twice := rendered[key]; twice {
				t.Errorf("%s: %s is rendered twice", name, key)
			}
			rendered[key] = object
		}
	}
	return rendered, nil
}

// renderFiles renders every file of the chart, including the notes.
func renderFiles(t *testing.T, values map[string]any) (map[string]string, error) {
	t.Helper()
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	release := common.ReleaseOptions{Name: "serinus", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(chart, values, release, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, all)
}

func mustRender(t *testing.T, values map[string]any) objects {
	t.Helper()
	rendered, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func decode(t *testing.T, text []byte) objects {
	t.Helper()
	found := objects{}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 1<<20)
	for {
		var object map[string]any
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		if len(object) == 0 {
			continue
		}
		found[fmt.Sprintf("%v %v/%v", object["kind"], at(object, "metadata", "namespace"), at(object, "metadata", "name"))] = object
	}
}

// at returns the value at a path of keys and indexes, or nil.
func at(value any, steps ...any) any {
	for _, step := range steps {
		switch step := step.(type) {
		case string:
			members, _ := value.(map[string]any)
			value = members[step]
		case int:
			items, _ := value.([]any)
			if step >= len(items) {
				return nil
			}
			value = items[step]
		}
	}
	return value
}

var configMapHash = regexp.MustCompile(`^serinus-config-[a-z0-9]{10}$`)

// withoutHash removes the hash from the name of the ConfigMap and from the objects that refer to
// it.
func (o objects) withoutHash(t *testing.T) objects {
	t.Helper()
	for _, key := range o.keys() {
		metadata, _ := at(o[key], "metadata").(map[string]any)
		name, _ := metadata["name"].(string)
		if !configMapHash.MatchString(name) {
			continue
		}
		deployment := o["Deployment serinus-system/serinus-controller-manager"]
		volume, _ := at(deployment, "spec", "template", "spec", "volumes", 0, "configMap").(map[string]any)
		if volume["name"] != name {
			t.Errorf("the Deployment mounts the ConfigMap %v, want %s", volume["name"], name)
		}
		binding := o["ValidatingAdmissionPolicyBinding <nil>/serinus-deployment-mode"]
		params, _ := at(binding, "spec", "paramRef").(map[string]any)
		if params["name"] != name {
			t.Errorf("the parameter of the admission policy is the ConfigMap %v, want %s", params["name"], name)
		}
		params["name"] = "serinus-config"
		volume["name"], metadata["name"] = "serinus-config", "serinus-config"
		o["ConfigMap serinus-system/serinus-config"] = o[key]
		delete(o, key)
	}
	return o
}
