// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// concurrency is the number of concurrent requests of the user and of the bare client. It
	// equals the operator's default of controller.concurrency.
	concurrency   = 8
	canaryPercent = 10
	// canaryOneIn is the number of InferenceServices for each canary.
	canaryOneIn = 10
)

// serviceName returns names of the same length, so that requests can be matched by prefix and have
// the same size.
func serviceName(i int) string { return fmt.Sprintf("%s%05d", servicePrefix, i) }

const servicePrefix = "sklearn-iris-"

func names(namespace string, from, to int) []types.NamespacedName {
	var all []types.NamespacedName
	for i := from; i < to; i++ {
		all = append(all, types.NamespacedName{Namespace: namespace, Name: serviceName(i)})
	}
	return all
}

func canaries(all []types.NamespacedName) []types.NamespacedName {
	var some []types.NamespacedName
	for i := 0; i < len(all); i += canaryOneIn {
		some = append(some, all[i])
	}
	return some
}

func inferenceService(name types.NamespacedName) *unstructured.Unstructured {
	isvc := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "serving.kserve.io/v1beta1",
		"kind":       "InferenceService",
		"spec": map[string]any{"predictor": map[string]any{"model": map[string]any{
			"modelFormat": map[string]any{"name": "sklearn"},
			"storageUri":  "gs://kfserving-examples/models/sklearn/1.0/model",
		}}},
	}}
	isvc.SetNamespace(name.Namespace)
	isvc.SetName(name.Name)
	return isvc
}

const canaryPatch = `{"spec": {"predictor": {"canaryTrafficPercent": 10, "model": {"storageUri": "gs://kfserving-examples/models/sklearn/1.0/model-2"}}}}`

func percentPatch(percent int64) string {
	return fmt.Sprintf(`{"spec": {"predictor": {"canaryTrafficPercent": %d}}}`, percent)
}

func (b *bench) create(ctx context.Context, all []types.NamespacedName) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for _, name := range all {
		group.Go(func() error { return b.user.Create(ctx, inferenceService(name)) })
	}
	return group.Wait()
}

func (b *bench) change(ctx context.Context, all []types.NamespacedName, patch string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for _, name := range all {
		group.Go(func() error { return b.patch(ctx, name, patch) })
	}
	return group.Wait()
}

func (b *bench) patch(ctx context.Context, name types.NamespacedName, patch string) error {
	isvc := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}}
	isvc.SetNamespace(name.Namespace)
	isvc.SetName(name.Name)
	return b.user.Patch(ctx, isvc, client.RawPatch(types.MergePatchType, []byte(patch)))
}
