// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
)

type tracker struct {
	mu           sync.Mutex
	latest       map[types.NamespacedName]*v1beta1.InferenceService
	expectations []*expectation
}

// expectation is a condition that each of several InferenceServices must meet once.
type expectation struct {
	pending map[types.NamespacedName]bool
	holds   func(*v1beta1.InferenceService) bool
	met     chan struct{}
}

func startTracker(ctx context.Context, config *rest.Config) (*tracker, error) {
	t := &tracker{latest: map[types.NamespacedName]*v1beta1.InferenceService{}}
	objects, err := cache.New(config, cache.Options{Scheme: newScheme(), DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		return nil, err
	}
	go func() { _ = objects.Start(ctx) }()
	informer, err := objects.GetInformer(ctx, &v1beta1.InferenceService{})
	if err != nil {
		return nil, err
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { t.update(object) },
		UpdateFunc: func(_, object any) { t.update(object) },
		DeleteFunc: func(object any) { t.remove(object) },
	})
	return t, err
}

func (t *tracker) update(object any) {
	isvc, ok := object.(*v1beta1.InferenceService)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := client.ObjectKeyFromObject(isvc)
	t.latest[key] = isvc
	for _, e := range t.expectations {
		e.check(key, isvc)
	}
}

func (t *tracker) remove(object any) {
	key, err := toolscache.DeletionHandlingObjectToName(object)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.latest, key.AsNamespacedName())
}

func (e *expectation) check(key types.NamespacedName, isvc *v1beta1.InferenceService) {
	if e.pending[key] && e.holds(isvc) {
		delete(e.pending, key)
		if len(e.pending) == 0 {
			close(e.met)
		}
	}
}

// expect adds an expectation for InferenceServices. Each of them must meet it at some time from now
// on.
func (t *tracker) expect(names []types.NamespacedName, holds func(*v1beta1.InferenceService) bool) *expectation {
	e := &expectation{pending: map[types.NamespacedName]bool{}, holds: holds, met: make(chan struct{})}
	for _, name := range names {
		e.pending[name] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expectations = append(slices.DeleteFunc(t.expectations, func(old *expectation) bool { return len(old.pending) == 0 }), e)
	for _, name := range names {
		if isvc := t.latest[name]; isvc != nil {
			e.check(name, isvc)
		}
	}
	return e
}

func (t *tracker) await(ctx context.Context, e *expectation) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	select {
	case <-e.met:
		return time.Now(), nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range e.pending {
		example := "it does not exist"
		if isvc := t.latest[name]; isvc != nil {
			example = fmt.Sprintf("its conditions are %v", isvc.Status.Conditions)
		}
		return time.Time{}, fmt.Errorf("timed out waiting for %d InferenceServices (%w); for example %s: %s", len(e.pending), ctx.Err(), name, example)
	}
	return time.Now(), nil
}

func (t *tracker) uid(name types.NamespacedName) types.UID {
	t.mu.Lock()
	defer t.mu.Unlock()
	if isvc := t.latest[name]; isvc != nil {
		return isvc.UID
	}
	return ""
}

// isReady reports whether an InferenceService is Ready at its current generation.
func isReady(isvc *v1beta1.InferenceService) bool {
	condition := apimeta.FindStatusCondition(isvc.Status.Conditions, v1beta1.ConditionReady)
	return condition != nil && condition.Status == metav1.ConditionTrue && isvc.Status.ObservedGeneration == isvc.Generation
}

// splitAt returns a condition that holds if an InferenceService is Ready, its canary has the
// percent, and the previous revision has the rest.
func splitAt(percent int64) func(*v1beta1.InferenceService) bool {
	return func(isvc *v1beta1.InferenceService) bool {
		var latest, previous int64
		for _, target := range isvc.Status.Components[v1beta1.PredictorComponent].Traffic {
			switch {
			case target.Percent == nil:
			case target.LatestRevision != nil && *target.LatestRevision:
				latest = *target.Percent
			case target.Tag == v1beta1.TagPrevious:
				previous = *target.Percent
			}
		}
		return isReady(isvc) && latest == percent && previous == 100-percent
	}
}
