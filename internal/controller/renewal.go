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
func (s *scope) renewCredentials(ctx context.Context) error {
	target := s.decision.Target
	made, recorded := s.observed.Recorded[target]
	if !recorded || made.Template == nil || s.snapshot.Wanted.Inputs == "" || !s.neverReady(target) {
		return nil
	}
	current := predictor.DownloadOf(made.Template)
	if current == nil || s.desired.NeedsCredentials() == (predictor.CredentialsNeed{}) {
		return nil
	}
	credentials, err := s.credentials(ctx, s.desired.NeedsCredentials())
	if err != nil {
		return s.collectReadableProblems(err)
	}
	download, err := s.desired.Download(made.Template, credentials)
	if err != nil {
		return s.collectProblems(err)
	}
	if !download.SameCredentials(current) {
		s.amend(backend.Amendment{Download: download})
	}
	return nil
}

// amend has the target amended.
func (s *scope) amend(amendment backend.Amendment) {
	if s.amended == nil {
		s.amended = &backend.Amended{Revision: s.decision.Target}
	}
	s.amended.Download = cmp.Or(amendment.Download, s.amended.Download)
	s.amended.User = cmp.Or(amendment.User, s.amended.User)
}

// longestUserSpec is what fits well into an annotation.
const longestUserSpec = 128 << 10

// keepUserSpec adds what the user wrote to the record of a target that the first version has made, or of one for which the
// user names the serving runtime now, or no longer. It waits for a change of the spec: an upgrade must not write.
func (s *scope) keepUserSpec() error {
	made, recorded := s.observed.Recorded[s.decision.Target]
	if !recorded || made.Template == nil || s.desired == nil || s.desired.Inputs == "" ||
		s.isvc.Status.ObservedGeneration == s.isvc.Generation {
		return nil
	}
	if made.User != nil && made.User.RequestedRuntime == s.desired.Identity.RequestedRuntime {
		return nil
	}
	user, err := s.desired.UserSpec(made.Template)
	if err == nil && len(user.Predictor) < longestUserSpec {
		s.amend(backend.Amendment{User: user})
	}
	return err
}

// neverReady reports whether a revision has not been ready since the spec asks for it. If it had been, it would be in the split.
func (s *scope) neverReady(n rollout.Number) bool {
	for _, revision := range s.snapshot.Revisions {
		if revision.Number == n && revision.Workload != nil && revision.Workload.Ready > 0 {
			return false
		}
	}
	record := s.decision.Record
	return !s.snapshot.Wanted.Stopped && !s.decision.Served.Has(n) && (record == nil ||
		record.Stable != n && record.Previous != n && !record.Split.Has(n) && !record.Before.Has(n))
}

// reviewCredentials looks whether what serves could start another pod. A revision that has served keeps its credentials;
// users are told when a Secret of it is gone, or when its ServiceAccount lists others.
func (s *scope) reviewCredentials(ctx context.Context) error {
	record := s.decision.Record
	if record == nil || s.snapshot.Wanted.Stopped {
		return nil
	}
	numbers := []rollout.Number{record.Stable}
	for _, share := range record.Split.Shares() {
		if share.Revision != record.Stable {
			numbers = append(numbers, share.Revision)
		}
	}
	for _, n := range numbers {
		if err := s.reviewRevision(ctx, n); err != nil {
			return s.collectReadableProblems(err)
		}
	}
	return nil
}

func (s *scope) reviewRevision(ctx context.Context, n rollout.Number) error {
	template := s.observed.Recorded[n].Template
	if template == nil {
		return nil
	}
	download := predictor.DownloadOf(template)
	if download == nil {
		return nil
	}
	name, used := backend.RevisionName(s.isvc.Name, n), download.Secrets()
	var present []string
	byAccount := !download.NamesSecret(template, s.Config.Credentials.StorageSecretNameAnnotation)
	account := cmp.Or(template.Spec.ServiceAccountName, defaultServiceAccount)
	if byAccount {
		var err error
		if present, err = s.listedBy(ctx, account); err != nil {
			return err
		}
	}
	for _, secret := range used {
		found, err := s.secret(ctx, secret, name+" refers to it")
		if err != nil {
			return err
		}
		if found == nil {
			return &problemError{status.Problem{
				Condition: v1beta1.ConditionPredictorReady,
				Reason:    reasonCredentialsGone,
				Message: fmt.Sprintf("%s refers to Secret %q, which does not exist: no new pod of it can start; create the Secret again, or %s",
					name, secret, s.howToRenew(n, present, byAccount)),
			}}
		}
	}
	used = download.SecretsOfAccount(template)
	if byAccount && !slices.Equal(used, present) {
		s.notices = append(s.notices, backend.Finding{
			Condition: v1beta1.ConditionPredictorReady,
			Reason:    reasonCredentialsChanged,
			Message: fmt.Sprintf("ServiceAccount %q lists %s for storage, and %s refers to %s; to change that, %s",
				account, secretsInWords(present), name, secretsInWords(used), s.howToRenew(n, present, byAccount)),
		})
	}
	return nil
}

// listedBy lists those Secrets of a ServiceAccount that a revision made now would refer to.
func (s *scope) listedBy(ctx context.Context, name string) ([]string, error) {
	account, err := s.serviceAccount(ctx, name)
	if err != nil {
		return nil, err
	}
	var secrets []predictor.Secret
	for _, reference := range account.Secrets {
		if generatedFor(name, reference.Name) {
			continue
		}
		secret, err := s.secret(ctx, reference.Name, fmt.Sprintf("ServiceAccount %q lists it", name))
		if err != nil {
			return nil, err
		}
		if secret != nil {
			secrets = append(secrets, *secret)
		}
	}
	return predictor.SecretsUsed(secrets, settings(s.Config, s.mode()).Credentials), nil
}

// howToRenew is what makes a revision with the Secrets that there are now, in words that are the same for the same Secrets.
func (s *scope) howToRenew(n rollout.Number, present []string, byAccount bool) string {
	if !byAccount {
		return fmt.Sprintf("name another in spec.predictor.model.storage.key or the annotation %s", s.Config.Credentials.StorageSecretNameAnnotation)
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"predictor": map[string]any{"annotations": map[string]string{
		v1beta1.AnnotationCredentials: cmp.Or(strings.Join(present, ","), "none"),
	}}}})
	if err != nil {
		return "change the annotations of spec.predictor" // Strings always encode.
	}
	words := fmt.Sprintf("make a revision with the present ones: kubectl patch inferenceservice -n %s %s --type=merge -p '%s'",
		s.isvc.Namespace, s.isvc.Name, patch)
	if n != s.decision.Target && s.isvc.Spec.Predictor.CanaryTrafficPercent != nil {
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

// collectReadableProblems is like note, but lets pass what the operator may not read: what runs does not depend on that.
func (s *scope) collectReadableProblems(err error) error {
	if problem, ok := errors.AsType[*problemError](err); ok && problem.Reason == reasonCredentials {
		return nil
	}
	return s.collectProblems(err)
}
