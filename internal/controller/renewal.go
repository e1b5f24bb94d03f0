// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// renewCredentials gives a target that has never been ready the credentials that there are now: they came, or were
// corrected, after the revision was made.
func (p *pass) renewCredentials(ctx context.Context) error {
	target := p.decision.Target
	made, recorded := p.observed.Recorded[target]
	if !recorded || made.Template == nil || p.snapshot.Wanted.Inputs == "" || !p.neverReady(target) {
		return nil
	}
	current := predictor.DownloadOf(made.Template)
	if current == nil || p.wanted.NeedsCredentials() == (predictor.CredentialsNeed{}) {
		return nil
	}
	credentials, err := p.credentials(ctx, p.wanted.NeedsCredentials())
	if err != nil {
		return p.noteUnlessUnreadable(err)
	}
	download, err := p.wanted.Download(made.Template, credentials)
	if err != nil {
		return p.note(err)
	}
	if !download.SameCredentials(current) {
		p.amend(backend.Amendment{Download: download})
	}
	return nil
}

// amend has the target amended.
func (p *pass) amend(amendment backend.Amendment) {
	if p.amended == nil {
		p.amended = &backend.Amended{Revision: p.decision.Target}
	}
	p.amended.Download = cmp.Or(amendment.Download, p.amended.Download)
	p.amended.User = cmp.Or(amendment.User, p.amended.User)
}

// longestUserSpec is what fits well into an annotation.
const longestUserSpec = 128 << 10

// keepUserSpec adds what the user wrote to the record of a target that the first version has made, or of one for which the
// user names the serving runtime now, or no longer. It waits for a change of the spec: an upgrade must not write.
func (p *pass) keepUserSpec() error {
	made, recorded := p.observed.Recorded[p.decision.Target]
	if !recorded || made.Template == nil || p.wanted == nil || p.wanted.Inputs == "" ||
		p.isvc.Status.ObservedGeneration == p.isvc.Generation {
		return nil
	}
	if made.User != nil && made.User.RequestedRuntime == p.wanted.Identity.RequestedRuntime {
		return nil
	}
	user, err := p.wanted.UserSpec(made.Template)
	if err == nil && len(user.Predictor) < longestUserSpec {
		p.amend(backend.Amendment{User: user})
	}
	return err
}

// neverReady reports whether a revision has not been ready since the spec asks for it. If it had been, it would be in the split.
func (p *pass) neverReady(n rollout.Number) bool {
	for _, revision := range p.snapshot.Revisions {
		if revision.Number == n && revision.Workload != nil && revision.Workload.Ready > 0 {
			return false
		}
	}
	record := p.decision.Record
	return !p.snapshot.Wanted.Stopped && !p.decision.Served.Has(n) && (record == nil ||
		record.Stable != n && record.Previous != n && !record.Split.Has(n) && !record.Before.Has(n))
}

// reviewCredentials looks whether what serves could start another pod. A revision that has served keeps its credentials;
// users are told when a Secret of it is gone, or when its ServiceAccount lists others.
func (p *pass) reviewCredentials(ctx context.Context) error {
	record := p.decision.Record
	if record == nil || p.snapshot.Wanted.Stopped {
		return nil
	}
	numbers := []rollout.Number{record.Stable}
	for _, share := range record.Split.Shares() {
		if share.Revision != record.Stable {
			numbers = append(numbers, share.Revision)
		}
	}
	for _, n := range numbers {
		if err := p.reviewRevision(ctx, n); err != nil {
			return p.noteUnlessUnreadable(err)
		}
	}
	return nil
}

func (p *pass) reviewRevision(ctx context.Context, n rollout.Number) error {
	template := p.observed.Recorded[n].Template
	if template == nil {
		return nil
	}
	download := predictor.DownloadOf(template)
	if download == nil {
		return nil
	}
	name, used := backend.RevisionName(p.isvc.Name, n), download.Secrets()
	var present []string
	byAccount := !download.NamesSecret(template, p.Config.Credentials.StorageSecretNameAnnotation)
	account := cmp.Or(template.Spec.ServiceAccountName, defaultServiceAccount)
	if byAccount {
		var err error
		if present, err = p.listedBy(ctx, account); err != nil {
			return err
		}
	}
	for _, secret := range used {
		found, err := p.secret(ctx, secret, name+" refers to it")
		if err != nil {
			return err
		}
		if found == nil {
			return &problemError{status.Problem{
				Condition: v1beta1.ConditionPredictorReady,
				Reason:    reasonCredentialsGone,
				Message: fmt.Sprintf("%s refers to Secret %q, which does not exist: no new pod of it can start; create the Secret again, or %s",
					name, secret, p.howToRenew(n, present, byAccount)),
			}}
		}
	}
	used = download.SecretsOfAccount(template)
	if byAccount && !slices.Equal(used, present) {
		p.notices = append(p.notices, backend.Finding{
			Condition: v1beta1.ConditionPredictorReady,
			Reason:    reasonCredentialsChanged,
			Message: fmt.Sprintf("ServiceAccount %q lists %s for storage, and %s refers to %s; to change that, %s",
				account, secretsInWords(present), name, secretsInWords(used), p.howToRenew(n, present, byAccount)),
		})
	}
	return nil
}

// listedBy lists those Secrets of a ServiceAccount that a revision made now would refer to.
func (p *pass) listedBy(ctx context.Context, name string) ([]string, error) {
	account, err := p.serviceAccount(ctx, name)
	if err != nil {
		return nil, err
	}
	var secrets []predictor.Secret
	for _, reference := range account.Secrets {
		if generatedFor(name, reference.Name) {
			continue
		}
		secret, err := p.secret(ctx, reference.Name, fmt.Sprintf("ServiceAccount %q lists it", name))
		if err != nil {
			return nil, err
		}
		if secret != nil {
			secrets = append(secrets, *secret)
		}
	}
	return predictor.SecretsUsed(secrets, settings(p.Config, p.mode()).Credentials), nil
}

// howToRenew is what makes a revision with the Secrets that there are now, in words that are the same for the same Secrets.
func (p *pass) howToRenew(n rollout.Number, present []string, byAccount bool) string {
	if !byAccount {
		return fmt.Sprintf("name another in spec.predictor.model.storage.key or the annotation %s", p.Config.Credentials.StorageSecretNameAnnotation)
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"predictor": map[string]any{"annotations": map[string]string{
		v1beta1.AnnotationCredentials: cmp.Or(strings.Join(present, ","), "none"),
	}}}})
	if err != nil {
		return "change the annotations of spec.predictor" // Strings always encode.
	}
	words := fmt.Sprintf("make a revision with the present ones: kubectl patch inferenceservice -n %s %s --type=merge -p '%s'",
		p.isvc.Namespace, p.isvc.Name, patch)
	if n != p.decision.Target && p.isvc.Spec.Predictor.CanaryTrafficPercent != nil {
		words += "; it takes the place of this one once canaryTrafficPercent is removed"
	}
	return words
}

func secretsInWords(names []string) string {
	if len(names) == 0 {
		return "no Secret"
	}
	return "Secret " + strings.Join(names, ", ")
}

// noteUnlessUnreadable is like note, but lets pass what the operator may not read: what runs does not depend on that.
func (p *pass) noteUnlessUnreadable(err error) error {
	if problem, ok := errors.AsType[*problemError](err); ok && problem.Reason == reasonCredentials {
		return nil
	}
	return p.note(err)
}
