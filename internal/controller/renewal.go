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

// renewCredentials gives a target that has never been ready the current credentials. They may have
// been created or corrected after the revision.
func (s *scope) renewCredentials(ctx context.Context) error {
	target := s.decision.Target
	recorded, found := s.observed.History[target]
	if !found || recorded.Template == nil || s.snapshot.Desired.Hash == "" || !s.neverReady(target) {
		return nil
	}
	current := predictor.DownloadOf(recorded.Template)
	if current == nil || s.desired.NeedsCredentials() == (predictor.CredentialsNeed{}) {
		return nil
	}
	credentials, err := s.credentials(ctx, s.desired.NeedsCredentials())
	if err != nil {
		return s.collectReadableProblem(err)
	}
	download, err := s.desired.Download(recorded.Template, credentials)
	if err != nil {
		return s.collectProblem(err)
	}
	if !download.SameCredentials(current) {
		s.amend(backend.Amendment{Download: download})
	}
	return nil
}

// amend adds an amendment of the target.
func (s *scope) amend(amendment backend.Amendment) {
	if s.amended == nil {
		s.amended = &backend.Amended{Revision: s.decision.Target}
	}
	s.amended.Download = cmp.Or(amendment.Download, s.amended.Download)
	s.amended.User = cmp.Or(amendment.User, s.amended.User)
}

// maxUserSpecBytes keeps the user's spec well below the size limit of annotations.
const maxUserSpecBytes = 128 << 10

// keepUserSpec adds the user's spec to the history entry of a target that the first version of the
// operator created, or for which the user began or ceased to name the serving runtime. It waits for
// a change of the spec, because an upgrade of the operator must not write.
func (s *scope) keepUserSpec() error {
	recorded, found := s.observed.History[s.decision.Target]
	if !found || recorded.Template == nil || s.desired == nil || s.desired.Hash == "" ||
		s.isvc.Status.ObservedGeneration == s.isvc.Generation {
		return nil
	}
	if recorded.User != nil && recorded.User.RequestedRuntime == s.desired.Identity.RequestedRuntime {
		return nil
	}
	user, err := s.desired.UserSpec(recorded.Template)
	if err == nil && len(user.Predictor) < maxUserSpecBytes {
		s.amend(backend.Amendment{User: user})
	}
	return err
}

// neverReady reports whether a revision has not been ready since the spec asks for it. A revision
// that was ready is or was in the split.
func (s *scope) neverReady(n rollout.Number) bool {
	for _, revision := range s.snapshot.Revisions {
		if revision.Number == n && revision.Workloads[rollout.Predictor] != nil && revision.Workloads[rollout.Predictor].Ready > 0 {
			return false
		}
	}
	state := s.decision.State
	return !s.snapshot.Desired.Stopped && !s.decision.Served.Has(n) && (state == nil ||
		state.Stable != n && state.Previous != n && !state.Split.Has(n) && !state.ServedBefore.Has(n))
}

// reviewCredentials checks whether the revisions that serve could start another pod. A revision
// that has served keeps its credentials. The status reports a Secret that is gone and a
// ServiceAccount that lists others.
func (s *scope) reviewCredentials(ctx context.Context) error {
	state := s.decision.State
	if state == nil || s.snapshot.Desired.Stopped {
		return nil
	}
	numbers := []rollout.Number{state.Stable}
	for _, share := range state.Split.Shares() {
		if share.Revision != state.Stable {
			numbers = append(numbers, share.Revision)
		}
	}
	for _, n := range numbers {
		if err := s.reviewRevision(ctx, n); err != nil {
			return s.collectReadableProblem(err)
		}
	}
	return nil
}

func (s *scope) reviewRevision(ctx context.Context, n rollout.Number) error {
	template := s.observed.History[n].Template
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
		if present, err = s.secretsListedBy(ctx, account); err != nil {
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
					name, secret, s.describeRenewal(n, present, byAccount)),
			}}
		}
	}
	used = download.SecretsOfAccount(template)
	if byAccount && !slices.Equal(used, present) {
		s.notices = append(s.notices, backend.Finding{
			Condition: v1beta1.ConditionPredictorReady,
			Reason:    reasonCredentialsChanged,
			Message: fmt.Sprintf("ServiceAccount %q lists %s for storage, and %s refers to %s; to change that, %s",
				account, joinSecrets(present), name, joinSecrets(used), s.describeRenewal(n, present, byAccount)),
		})
	}
	return nil
}

// secretsListedBy returns the Secrets of a ServiceAccount that a new revision would refer to.
func (s *scope) secretsListedBy(ctx context.Context, name string) ([]string, error) {
	account, err := s.serviceAccount(ctx, name)
	if err != nil {
		return nil, err
	}
	var secrets []predictor.Secret
	for _, reference := range account.Secrets {
		if isGeneratedFor(name, reference.Name) {
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

// describeRenewal returns how to create a revision with the current Secrets. The text depends on
// the Secrets only, so that the message is stable.
func (s *scope) describeRenewal(n rollout.Number, present []string, byAccount bool) string {
	if !byAccount {
		return fmt.Sprintf("name another in spec.predictor.model.storage.key or the annotation %s", s.Config.Credentials.StorageSecretNameAnnotation)
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"predictor": map[string]any{"annotations": map[string]string{
		v1beta1.AnnotationCredentials: cmp.Or(strings.Join(present, ","), "none"),
	}}}})
	if err != nil {
		return "change the annotations of spec.predictor" // Encoding strings cannot fail.
	}
	words := fmt.Sprintf("make a revision with the present ones: kubectl patch inferenceservice -n %s %s --type=merge -p '%s'",
		s.isvc.Namespace, s.isvc.Name, patch)
	if n != s.decision.Target && s.isvc.Spec.Predictor.CanaryTrafficPercent != nil {
		words += "; it takes the place of this one once canaryTrafficPercent is removed"
	}
	return words
}

func joinSecrets(names []string) string {
	if len(names) == 0 {
		return "no Secret"
	}
	return "Secret " + strings.Join(names, ", ")
}

// collectReadableProblem is collectProblem without Secrets that the operator may not read. A
// running revision does not depend on this permission.
func (s *scope) collectReadableProblem(err error) error {
	if problem, ok := errors.AsType[*problemError](err); ok && problem.Reason == reasonCredentials {
		return nil
	}
	return s.collectProblem(err)
}
