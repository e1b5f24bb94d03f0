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

type recipe struct {
	name    string
	prepare func(ctx context.Context, b *builder, name string) (image.Image, error)
}

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

// choose returns the named images in the order of the catalog without duplicates. Without names, it
// returns all images.
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
			return nil, fmt.Errorf("unknown image %q; the images are: %s", name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(catalog), func(r recipe) bool { return !slices.Contains(names, r.name) }), nil
}

func imageName(name string) string { return "dev.local/" + name + ":1" }
