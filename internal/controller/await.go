// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

const (
	// crdTimeout is shorter than the time that the liveness probe gives a process to become
	// healthy.
	crdTimeout      = 30 * time.Second
	crdPollInterval = 500 * time.Millisecond
)

// AwaitCRDs waits until the API server serves the kinds of api/. This takes up to a second after
// their CRDs were created, and [Setup] fails until then.
func AwaitCRDs(ctx context.Context, reader client.Reader) error {
	log := logf.FromContext(ctx).WithName("setup")
	for kind, list := range map[string]client.ObjectList{
		"InferenceService":      &v1beta1.InferenceServiceList{},
		"ServingRuntime":        &v1alpha1.ServingRuntimeList{},
		"ClusterServingRuntime": &v1alpha1.ClusterServingRuntimeList{},
	} {
		var last error
		err := wait.PollUntilContextTimeout(ctx, crdPollInterval, crdTimeout, true, func(ctx context.Context) (bool, error) {
			err := reader.List(ctx, list, client.Limit(1))
			if err != nil && !isUnserved(err) {
				return false, err
			}
			if err != nil && last == nil {
				log.Info("Waiting for the API server to serve a kind whose CRD may have been created just now", "kind", kind)
			}
			last = err
			return err == nil, nil
		})
		switch {
		case err == nil || ctx.Err() != nil:
		case wait.Interrupted(err):
			return fmt.Errorf("the API server did not serve %s within %s: install the CRDs first (kubectl apply -k config/crd, or crds.install in the chart): %w",
				kind, crdTimeout, last)
		default:
			return fmt.Errorf("looking for %s: %w", kind, err)
		}
	}
	return nil
}

// isUnserved reports whether the CRD of a kind is missing or was created a moment ago.
func isUnserved(err error) bool {
	return apimeta.IsNoMatchError(err) || apierrors.IsNotFound(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err)
}
