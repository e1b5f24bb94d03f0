// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// CredentialsNeed names the objects whose credentials [Resolved.Render] needs. It is empty for a
// model that is not downloaded.
type CredentialsNeed struct {
	// ServiceAccount is the service account whose annotations are used, and whose Secrets are used
	// unless Secret is set.
	ServiceAccount string
	// Secret is a Secret that the InferenceService names.
	Secret string
}

// Credentials describes the credentials for storage. It contains no secret values: pods refer to
// Secrets instead.
type Credentials struct {
	// ServiceAccountAnnotations are those of CredentialsNeed.ServiceAccount.
	ServiceAccountAnnotations map[string]string
	// ServiceAccountSecrets are the Secrets that the service account lists, in its order.
	ServiceAccountSecrets []Secret
	// Secret is CredentialsNeed.Secret. It is nil if the Secret does not exist.
	Secret *Secret
}

// Secret describes a Secret without its secret values.
type Secret struct {
	Name        string
	Annotations map[string]string
	Keys        []string
	// Public holds the values that are not secret, such as addresses and switches.
	Public map[string]string
	// Storage holds the entries of a storage-config Secret.
	Storage map[string]StorageEntry
}

// StorageEntry is the part of an entry of a storage-config Secret that is not secret.
type StorageEntry struct {
	Type              string `json:"type"`
	Bucket            string `json:"bucket"`
	CABundleConfigMap string `json:"cabundle_configmap"`
}

// nonSecretKeys are the keys of a Secret whose values are not secret. They become part of names or
// of other values.
var nonSecretKeys = []string{
	keyHTTPSHost,
	envS3Endpoint, envS3UseHTTPS, envAWSRegion, envS3VerifySSL, envS3UseVirtualBucket, envS3UseAccelerate,
	envS3Anonymous, envAWSCABundle, envAWSCABundleConfigMap,
}

// SecretOf returns the description of a Secret.
func SecretOf(secret *corev1.Secret) Secret {
	description := Secret{
		Name:        secret.Name,
		Annotations: maps.Clone(secret.Annotations),
		Keys:        slices.Sorted(maps.Keys(secret.Data)),
		Public:      map[string]string{},
		Storage:     map[string]StorageEntry{},
	}
	for key, value := range secret.Data {
		if slices.Contains(nonSecretKeys, key) {
			description.Public[key] = string(value)
		}
		var entry StorageEntry
		if json.Unmarshal(value, &entry) == nil {
			description.Storage[key] = entry
		}
	}
	return description
}

func (s Secret) has(key string) bool {
	return slices.Contains(s.Keys, key)
}

func (s Secret) variable(name, key string) corev1.EnvVar {
	return corev1.EnvVar{
		Name: name,
		ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: s.Name},
			Key:                  key,
		}},
	}
}
