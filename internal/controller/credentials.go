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

// credentials reads what is known of credentials for storage, live and only when a revision is made: the operator may
// not list secrets, and keeps none. A secret that the spec names itself takes the place of the account's.
func (p *pass) credentials(ctx context.Context, need predictor.CredentialsNeed) (predictor.Credentials, error) {
	var found predictor.Credentials
	if need.ServiceAccount != "" {
		var account corev1.ServiceAccount
		key := client.ObjectKey{Namespace: p.isvc.Namespace, Name: need.ServiceAccount}
		if err := p.Live.Get(ctx, key, &account); err != nil && !apierrors.IsNotFound(err) {
			return found, fmt.Errorf("reading ServiceAccount %q: %w", need.ServiceAccount, err)
		}
		found.ServiceAccountAnnotations = account.Annotations
		for _, reference := range account.Secrets {
			if need.Secret != "" || generatedFor(need.ServiceAccount, reference.Name) {
				continue
			}
			secret, err := p.secret(ctx, reference.Name, fmt.Sprintf("ServiceAccount %q lists it", need.ServiceAccount))
			if err != nil {
				return found, err
			}
			if secret != nil {
				found.ServiceAccountSecrets = append(found.ServiceAccountSecrets, *secret)
			}
		}
	}
	if need.Secret != "" {
		secret, err := p.secret(ctx, need.Secret, "the credentials for storage are in it")
		if err != nil {
			return found, err
		}
		found.Secret = secret
	}
	return found, nil
}

// generatedFor tells whether a platform has made the secret for a service account: its token, or its access to the
// platform's own registry. Neither opens a store of models, and many an account lists them; not being allowed to read
// them must not keep a public model from being served.
func generatedFor(account, secret string) bool {
	return strings.HasPrefix(secret, account+"-token-") || strings.HasPrefix(secret, account+"-dockercfg-")
}

// secret is what may be known of a secret; nil if it does not exist.
func (p *pass) secret(ctx context.Context, name, why string) (*predictor.Secret, error) {
	var secret corev1.Secret
	err := p.Live.Get(ctx, client.ObjectKey{Namespace: p.isvc.Namespace, Name: name}, &secret)
	switch {
	case err == nil:
		return new(predictor.SecretOf(&secret)), nil
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		return nil, &problemError{status.Problem{
			Condition: v1beta1.ConditionPredictorReady,
			Reason:    reasonCredentials,
			Message: fmt.Sprintf("the operator may not read Secret %q (%s); allow it in this namespace: kubectl create rolebinding serinus-credentials-reader -n %s --clusterrole=serinus-credentials-reader --serviceaccount=serinus-system:serinus-controller-manager",
				name, why, p.isvc.Namespace),
		}}
	default:
		return nil, fmt.Errorf("reading Secret %q: %w", name, err)
	}
}
