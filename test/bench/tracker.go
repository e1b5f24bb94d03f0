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

// tracker knows every InferenceService as the API server last told it.
type tracker struct {
	mu      sync.Mutex
	known   map[types.NamespacedName]*v1beta1.InferenceService
	waiting []*expectation
}

// expectation is something that shall come true of some InferenceServices.
type expectation struct {
	of    map[types.NamespacedName]bool // Those of which it is not true yet.
	holds func(*v1beta1.InferenceService) bool
	met   chan struct{}
}

func startTracker(ctx context.Context, config *rest.Config) (*tracker, error) {
	t := &tracker{known: map[types.NamespacedName]*v1beta1.InferenceService{}}
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
		AddFunc:    func(object any) { t.saw(object) },
		UpdateFunc: func(_, object any) { t.saw(object) },
		DeleteFunc: func(object any) { t.lost(object) },
	})
	return t, err
}

func (t *tracker) saw(object any) {
	isvc, ok := object.(*v1beta1.InferenceService)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := client.ObjectKeyFromObject(isvc)
	t.known[key] = isvc
	for _, e := range t.waiting {
		e.look(key, isvc)
	}
}

func (t *tracker) lost(object any) {
	key, err := toolscache.DeletionHandlingObjectToName(object)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, key.AsNamespacedName())
}

func (e *expectation) look(key types.NamespacedName, isvc *v1beta1.InferenceService) {
	if e.of[key] && e.holds(isvc) {
		delete(e.of, key)
		if len(e.of) == 0 {
			close(e.met)
		}
	}
}

// expect begins to wait for something to come true of InferenceServices, each at some moment from now on.
func (t *tracker) expect(names []types.NamespacedName, holds func(*v1beta1.InferenceService) bool) *expectation {
	e := &expectation{of: map[types.NamespacedName]bool{}, holds: holds, met: make(chan struct{})}
	for _, name := range names {
		e.of[name] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(slices.DeleteFunc(t.waiting, func(old *expectation) bool { return len(old.of) == 0 }), e)
	for _, name := range names {
		if isvc := t.known[name]; isvc != nil {
			e.look(name, isvc)
		}
	}
	return e
}

// await waits for an expectation, and returns when it was met.
func (t *tracker) await(ctx context.Context, e *expectation) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-e.met:
		return time.Now(), nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range e.of {
		example := "it does not exist"
		if isvc := t.known[name]; isvc != nil {
			example = fmt.Sprintf("its conditions are %v", isvc.Status.Conditions)
		}
		return time.Time{}, fmt.Errorf("waited for %d InferenceServices in vain (%w); of %s, %s", len(e.of), ctx.Err(), name, example)
	}
	return time.Now(), nil
}

// uid is that of an InferenceService.
func (t *tracker) uid(name types.NamespacedName) types.UID {
	t.mu.Lock()
	defer t.mu.Unlock()
	if isvc := t.known[name]; isvc != nil {
		return isvc.UID
	}
	return ""
}

// ready tells whether an InferenceService is Ready as it is specified now.
func ready(isvc *v1beta1.InferenceService) bool {
	condition := apimeta.FindStatusCondition(isvc.Status.Conditions, v1beta1.ConditionReady)
	return condition != nil && condition.Status == metav1.ConditionTrue && isvc.Status.ObservedGeneration == isvc.Generation
}

// splitAt holds once a canary is ready and has this percent, and the previous revision the rest.
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
		return ready(isvc) && latest == percent && previous == 100-percent
	}
}
