// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/status"
)

// credentials reads the storage credentials from the API server, because the operator may not list
// Secrets. A Secret that the spec names replaces the ServiceAccount's. A missing object is a
// problem, because a revision that was created without its credentials would never get them.
func (s *scope) credentials(ctx context.Context, need predictor.CredentialsNeed) (predictor.Credentials, error) {
	var found predictor.Credentials
	if need.ServiceAccount != "" {
		account, err := s.serviceAccount(ctx, need.ServiceAccount)
		if err != nil {
			return found, err
		}
		found.ServiceAccountAnnotations = account.Annotations
		for _, reference := range account.Secrets {
			if need.Secret != "" || isGeneratedFor(need.ServiceAccount, reference.Name) {
				continue
			}
			secret, err := s.secret(ctx, reference.Name, fmt.Sprintf("ServiceAccount %q lists it", need.ServiceAccount))
			if err != nil {
				return found, err
			}
			if secret == nil {
				return found, missingCredentials("ServiceAccount %q lists Secret %q, and there is no such Secret in namespace %s; create it, or take it out of the ServiceAccount's secrets",
					need.ServiceAccount, reference.Name, s.isvc.Namespace)
			}
			found.ServiceAccountSecrets = append(found.ServiceAccountSecrets, *secret)
		}
	}
	if need.Secret != "" {
		secret, err := s.secret(ctx, need.Secret, "the credentials for storage are in it")
		if err != nil {
			return found, err
		}
		found.Secret = secret
	}
	return found, nil
}

// defaultServiceAccount is the account of pods that name none. Kubernetes creates it shortly after
// its namespace, and pods wait for it.
const defaultServiceAccount = "default"

func (s *scope) serviceAccount(ctx context.Context, name string) (*corev1.ServiceAccount, error) {
	var account corev1.ServiceAccount
	err := s.APIReader.Get(ctx, client.ObjectKey{Namespace: s.isvc.Namespace, Name: name}, &account)
	s.trackVersion(kindServiceAccount, name, account.ResourceVersion, err)
	switch {
	case err == nil, apierrors.IsNotFound(err) && name == defaultServiceAccount:
		return &account, nil
	case apierrors.IsNotFound(err):
		return nil, missingCredentials("spec.predictor.serviceAccountName: there is no ServiceAccount %q in namespace %s; create it, or name another",
			name, s.isvc.Namespace)
	default:
		return nil, fmt.Errorf("reading ServiceAccount %q: %w", name, err)
	}
}

// missingCredentials returns a problem with an object that is not watched.
func missingCredentials(message string, args ...any) *problemError {
	return &problemError{status.Problem{
		Condition: v1beta1.ConditionPredictorReady,
		Reason:    reasonCredentialsMissing,
		Message:   fmt.Sprintf(message, args...) + fmt.Sprintf(" (the operator looks again every %s)", recheckPeriod),
	}}
}

// isGeneratedFor reports whether the platform generated the secret for a service account: its
// token, or its access to the platform's registry. Neither gives access to a model store. The
// operator must not need permission to read them to serve a public model.
func isGeneratedFor(account, secret string) bool {
	return strings.HasPrefix(secret, account+"-token-") || strings.HasPrefix(secret, account+"-dockercfg-")
}

// secret returns the parts of a Secret that the operator uses, or nil if it does not exist.
func (s *scope) secret(ctx context.Context, name, why string) (*predictor.Secret, error) {
	var secret corev1.Secret
	err := s.APIReader.Get(ctx, client.ObjectKey{Namespace: s.isvc.Namespace, Name: name}, &secret)
	s.trackVersion(kindSecret, name, secret.ResourceVersion, err)
	switch {
	case err == nil:
		return new(predictor.SecretOf(&secret)), nil
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		return nil, &problemError{status.Problem{
			Condition: v1beta1.ConditionPredictorReady,
			Reason:    reasonCredentials,
			Message: fmt.Sprintf("the operator may not read Secret %q (%s); allow it in this namespace: kubectl create rolebinding serinus-credentials-reader -n %s --clusterrole=serinus-credentials-reader --serviceaccount=%s",
				name, why, s.isvc.Namespace, s.Account),
		}}
	default:
		return nil, fmt.Errorf("reading Secret %q: %w", name, err)
	}
}
