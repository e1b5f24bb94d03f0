// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/serinus-io/serinus/test/cluster/image"
)

// recipe says how to make what goes into an image.
type recipe struct {
	name    string
	prepare func(ctx context.Context, w *workshop, name string) (image.Image, error)
}

// catalog lists every image that can be asked for by name.
var catalog = []recipe{
	{"manager", program("./cmd/manager")},
	{"storage-initializer", program("./cmd/storage-initializer")},
	{"testserver", program("./test/images/testserver")},
	{"knative-controller", tool},
	{"knative-webhook", tool},
	{"knative-activator", tool},
	{"knative-autoscaler", tool},
	{"knative-queue", tool},
	{"sklearnserver", modelServer},
}

// choose returns the named images in the order of the catalog, each once; without
// names, all of them.
func choose(names []string) ([]recipe, error) {
	if len(names) == 0 {
		return catalog, nil
	}
	known := make([]string, 0, len(catalog))
	for _, r := range catalog {
		known = append(known, r.name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no image %q; the images are: %s", name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(catalog), func(r recipe) bool { return !slices.Contains(names, r.name) }), nil
}

func imageName(name string) string { return "dev.local/" + name + ":1" }
