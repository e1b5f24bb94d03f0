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

// credentialsPeriod is how often to look whether credentials have changed. Neither Secrets nor ServiceAccounts are watched,
// as the operator may only get them, and users are to learn within half a minute that one is gone.
const credentialsPeriod = 20 * time.Second

// reference is a Secret or a ServiceAccount.
type reference struct {
	kind string
	types.NamespacedName
}

const (
	kindSecret         = "Secret"
	kindServiceAccount = "ServiceAccount"
)

// What a version is of a reference that has none.
const (
	versionAbsent    = "absent"
	versionForbidden = "forbidden"
)

// versionOf is what tells one state of an object from the next, given the outcome of reading it; empty where that says nothing.
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

// credentialVersions remembers the references that each InferenceService depends on, in the versions that it was last
// reconciled with. So all that share a ServiceAccount cost one request together, and none is reconciled without a cause.
type credentialVersions struct {
	mu  sync.Mutex
	all map[types.NamespacedName]map[reference]string
}

// replace notes what an InferenceService depends on now.
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

// retain forgets the InferenceServices that do not exist any more, and returns what the others depend on.
func (c *credentialVersions) retain(exists map[types.NamespacedName]bool) map[types.NamespacedName]map[reference]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.all, func(isvc types.NamespacedName, _ map[reference]string) bool { return !exists[isvc] })
	return maps.Clone(c.all)
}

// changedCredentials looks at each reference once, and returns the InferenceServices that were reconciled with another
// version of one.
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

// currentVersion asks for nothing of a Secret but its metadata.
func (r *Reconciler) currentVersion(ctx context.Context, read reference) string {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(read.kind))
	err := r.Live.Get(ctx, read.NamespacedName, object)
	return versionOf(object.ResourceVersion, err)
}

// watchCredentials has the InferenceServices whose credentials change reconciled, until the context ends.
func (r *Reconciler) watchCredentials(ctx context.Context, reconcile chan<- event.TypedGenericEvent[client.Object]) {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		changed, err := r.changedCredentials(ctx)
		if err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).Error(err, "Looking for changed credentials")
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

// trackVersion notes a reference that this pass depends on.
func (s *scope) trackVersion(kind, name, resourceVersion string, err error) {
	if s.readVersions == nil {
		s.readVersions = map[reference]string{}
	}
	of := reference{kind, types.NamespacedName{Namespace: s.isvc.Namespace, Name: name}}
	s.readVersions[of] = versionOf(resourceVersion, err)
}
