// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Command crds post-processes the CustomResourceDefinitions of controller-gen. Each CRD must fit into
// the annotation of a client-side kubectl apply, and be readable in kubectl explain:
//
//   - Descriptions from the project's own types are kept, with each paragraph on one line.
//     Kubernetes' descriptions are shortened to their first sentence.
//   - The fields of a legacy predictor field have no descriptions. They are those of model.
//   - The name of a container that serves a model is optional, in contrast to Kubernetes' type.
//   - The exponent of a quantity has at most two digits.
//
// All fields and their types are kept, so that the API server prunes no field.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

func main() {
	in := flag.String("in", "", "folder with the CRDs of controller-gen")
	out := flag.String("out", "", "folder for the processed CRDs; other CRDs in it are removed")
	types := flag.String("types", "", "folders of the Go packages with the project's own types, separated by commas")
	flag.Parse()

	if err := run(*in, *out, strings.Split(*types, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "crds:", err)
		os.Exit(1)
	}
}

func run(in, out string, types []string) error {
	own, err := commentsIn(types)
	if err != nil {
		return err
	}
	paths, err := filepath.Glob(filepath.Join(in, "*.yaml"))
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("no CRDs in %q", in)
	}
	if err := removeCRDs(out); err != nil {
		return err
	}
	for _, path := range paths {
		if err := finishFile(path, filepath.Join(out, filepath.Base(path)), own); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// removeCRDs removes the CRDs of an earlier run, which may be of types that no longer exist.
func removeCRDs(dir string) error {
	stale, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	errs := []error{os.MkdirAll(dir, 0o755)}
	for _, path := range stale {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

func finishFile(from, to string, own comments) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	crd, err := decode(text)
	if err != nil {
		return err
	}
	if err := finish(crd, own); err != nil {
		return err
	}
	manifest, err := encode(crd)
	if err != nil {
		return err
	}
	return os.WriteFile(to, manifest, 0o644)
}

func decode(text []byte) (*apiextensionsv1.CustomResourceDefinition, error) {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	return crd, yaml.UnmarshalStrict(text, crd)
}

func encode(crd *apiextensionsv1.CustomResourceDefinition) ([]byte, error) {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(crd)
	if err != nil {
		return nil, err
	}
	delete(object, "status")
	text, err := yaml.Marshal(object)
	if err != nil {
		return nil, err
	}
	header := "# Generated from the types in api/ by hack/codegen/manifests. Do not edit.\n---\n"
	return bytes.Join([][]byte{[]byte(header), text}, nil), nil
}
