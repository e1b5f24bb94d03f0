// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"context"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// outdated returns a revision whose credentials have changed since Knative created it; 0 if there
// is none. Neither a Knative Revision nor the template of the same name can be changed. So the
// template must name another revision before this one is deleted and created again.
func (w *writer) outdated() rollout.Number {
	for _, plan := range w.Decision.Workloads {
		revision, recorded := w.observed.knativeRevisions[plan.Revision], w.History.Revisions[plan.Revision]
		if plan.Action != rollout.Run || revision == nil || revision.IsReady() || w.isOffered(plan.Revision) {
			continue
		}
		if digest := recorded.DownloadHash(); digest != "" && revision.Annotations[objects.AnnotationDownload] != digest {
			return plan.Revision
		}
	}
	return 0
}

// isOffered reports whether a revision is the stable or in the split.
func (w *writer) isOffered(n rollout.Number) bool {
	state := w.Decision.State
	return state != nil && (state.Stable == n || state.Split.Has(n))
}

// replacementTemplate returns the stable's template while the template of the Knative Service names
// an outdated revision.
func (w *writer) replacementTemplate() (template servingv1.RevisionTemplateSpec, found bool) {
	n := w.outdated()
	if n == 0 || w.Decision.State == nil || !w.observed.templateNames(w.isvc, n) {
		return template, false
	}
	stable := w.Decision.State.Stable
	revision, known := w.History.Revisions[stable]
	if !known || stable == n || w.observed.knativeRevisions[stable] == nil {
		return template, false
	}
	return w.template(stable, revision), true
}

// renew deletes an outdated revision, which has never been ready. The next template creates it
// again. If nothing has ever been served, the whole Knative Service is deleted.
func (w *writer) renew(ctx context.Context) error {
	n := w.outdated()
	switch {
	case n == 0:
		return nil
	case w.Decision.State == nil:
		return w.DeleteConfirmed(ctx, w.observed.service)
	case w.observed.templateNames(w.isvc, n):
		return nil
	default:
		return w.deleteRevision(ctx, n)
	}
}
