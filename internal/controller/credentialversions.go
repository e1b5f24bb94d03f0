// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// credentialsPeriod is how often credentials are checked for changes. The operator may get Secrets
// and ServiceAccounts but not watch them. A missing one must be reported within 30 seconds.
const credentialsPeriod = 20 * time.Second

// reference identifies a Secret or a ServiceAccount.
type reference struct {
	kind string
	types.NamespacedName
}

const (
	kindSecret         = "Secret"
	kindServiceAccount = "ServiceAccount"
)

// Versions of references that could not be read.
const (
	versionAbsent    = "absent"
	versionForbidden = "forbidden"
)

// versionOf returns the version of an object from the result of reading it, or an empty string if
// the error does not tell.
func versionOf(resourceVersion string, err error) string {
	switch {
	case err == nil:
		return resourceVersion
	case apierrors.IsNotFound(err):
		return versionAbsent
	case apierrors.IsForbidden(err):
		return versionForbidden
	default:
		return ""
	}
}

// credentialVersions holds the versions of the references that each InferenceService was last
// reconciled with. InferenceServices that share a ServiceAccount share one request, and only
// changes cause reconciliations.
type credentialVersions struct {
	mu  sync.Mutex
	all map[types.NamespacedName]map[reference]string
}

// replace stores the references that an InferenceService depends on now.
func (c *credentialVersions) replace(isvc types.NamespacedName, reads map[reference]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(reads) == 0 {
		delete(c.all, isvc)
		return
	}
	if c.all == nil {
		c.all = map[types.NamespacedName]map[reference]string{}
	}
	c.all[isvc] = reads
}

// retain removes the InferenceServices that no longer exist, and returns the references of the
// others.
func (c *credentialVersions) retain(exists map[types.NamespacedName]bool) map[types.NamespacedName]map[reference]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.all, func(isvc types.NamespacedName, _ map[reference]string) bool { return !exists[isvc] })
	return maps.Clone(c.all)
}

// changedCredentials returns the InferenceServices that were reconciled with another version of a
// reference. It reads each reference once.
func (r *Reconciler) changedCredentials(ctx context.Context) ([]types.NamespacedName, error) {
	var list v1beta1.InferenceServiceList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	exists := make(map[types.NamespacedName]bool, len(list.Items))
	for i := range list.Items {
		exists[client.ObjectKeyFromObject(&list.Items[i])] = true
	}
	var changed []types.NamespacedName
	now := map[reference]string{}
	for isvc, reads := range r.credentialVersions.retain(exists) {
		for read, version := range reads {
			if _, known := now[read]; !known {
				now[read] = r.currentVersion(ctx, read)
			}
			if now[read] != "" && now[read] != version {
				changed = append(changed, isvc)
				break
			}
		}
	}
	return changed, ctx.Err()
}

// currentVersion reads only metadata, so that the data of a Secret does not leave the API server.
func (r *Reconciler) currentVersion(ctx context.Context, read reference) string {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(read.kind))
	err := r.APIReader.Get(ctx, read.NamespacedName, object)
	return versionOf(object.ResourceVersion, err)
}

// watchCredentials sends the InferenceServices whose credentials changed to the channel until the
// context ends.
func (r *Reconciler) watchCredentials(ctx context.Context, reconcile chan<- event.TypedGenericEvent[client.Object]) {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		changed, err := r.changedCredentials(ctx)
		if err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).Error(err, "Checking credentials for changes")
		}
		for _, isvc := range changed {
			object := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: isvc.Namespace, Name: isvc.Name}}
			select {
			case reconcile <- event.TypedGenericEvent[client.Object]{Object: object}:
			case <-ctx.Done():
				return
			}
		}
	}, credentialsPeriod)
}

// trackVersion stores the version of a reference that this reconciliation depends on.
func (s *scope) trackVersion(kind, name, resourceVersion string, err error) {
	if s.readVersions == nil {
		s.readVersions = map[reference]string{}
	}
	of := reference{kind, types.NamespacedName{Namespace: s.isvc.Namespace, Name: name}}
	s.readVersions[of] = versionOf(resourceVersion, err)
}
