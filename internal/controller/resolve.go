// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/predictor"
)

// resolve resolves the spec. A spec that cannot run becomes a problem, and desired then has no
// hash: no traffic moves. A serving runtime is picked again only for a spec that created no
// revision of the history.
func (s *scope) resolve(ctx context.Context) error {
	refused, err := s.refuse(ctx)
	if err != nil {
		return err
	}
	if refused != nil {
		return s.collectProblem(refused)
	}
	runtimes, err := s.runtimes(ctx)
	if err != nil {
		return err
	}
	s.desired, err = predictor.Resolve(s.isvc, runtimes, settings(s.Config, s.mode()))
	if s.desired != nil && s.observed != nil {
		if ref, found := intent.RuntimeToKeep(s.isvc, s.observed, s.desired); found {
			err = s.desired.KeepRuntime(ref, runtimes)
		}
	}
	return s.collectProblem(err)
}

// runtimes reads the serving runtimes that the InferenceService could use from the cache. They are
// shared and must not be modified.
func (s *scope) runtimes(ctx context.Context) (predictor.Runtimes, error) {
	var namespaced v1alpha1.ServingRuntimeList
	var cluster v1alpha1.ClusterServingRuntimeList
	if err := s.Client.List(ctx, &namespaced, client.InNamespace(s.isvc.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return predictor.Runtimes{}, fmt.Errorf("listing ServingRuntimes: %w", err)
	}
	if err := s.Client.List(ctx, &cluster, client.UnsafeDisableDeepCopy); err != nil {
		return predictor.Runtimes{}, fmt.Errorf("listing ClusterServingRuntimes: %w", err)
	}
	var found predictor.Runtimes
	for i := range namespaced.Items {
		found.Namespaced = append(found.Namespaced, &namespaced.Items[i])
	}
	for i := range cluster.Items {
		found.Cluster = append(found.Cluster, &cluster.Items[i])
	}
	return found, nil
}

func (s *scope) renderTarget(ctx context.Context) (*backend.RenderedRevision, error) {
	if !s.decision.Create {
		return nil, nil
	}
	credentials, err := s.credentials(ctx, s.desired.NeedsCredentials())
	if err != nil {
		return nil, err
	}
	runs, err := s.desired.Render(credentials)
	if err != nil {
		return nil, err
	}
	user, err := s.desired.UserSpec(&runs.Template)
	if err != nil {
		return nil, err
	}
	return &backend.RenderedRevision{Hash: s.desired.Hash, Mode: s.mode(), Runs: runs, User: user}, nil
}

// settings returns the settings of the operator that affect pods.
func settings(cfg *config.Config, mode v1beta1.DeploymentMode) predictor.Settings {
	return predictor.Settings{
		Mode: mode,
		StorageInitializer: predictor.StorageInitializer{
			Image:     cfg.StorageInitializer.Image,
			Resources: cfg.StorageInitializer.Resources.Requirements(),
			UID:       cfg.StorageInitializer.RunAsUser,
			Env:       cfg.StorageInitializer.Env,
		},
		Resources:           cfg.Predictor.Resources.Requirements(),
		ExcludedLabels:      cfg.Propagation.ExcludedLabels,
		ExcludedAnnotations: cfg.Propagation.ExcludedAnnotations,
		Credentials:         cfg.Credentials,
	}
}
