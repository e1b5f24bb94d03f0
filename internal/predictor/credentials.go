// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// CredentialsNeed says what [Resolved.Render] has to know of the namespace. It
// is zero for a model that is not downloaded.
type CredentialsNeed struct {
	// ServiceAccount is the service account whose annotations count, and whose
	// secrets count unless Secret is set.
	ServiceAccount string
	// Secret is a secret that counts by its name.
	Secret string
}

// Credentials are what is known of credentials for storage. They hold no
// secret values: pods refer to secrets, they do not contain them.
type Credentials struct {
	// ServiceAccountAnnotations are those of CredentialsNeed.ServiceAccount.
	ServiceAccountAnnotations map[string]string
	// ServiceAccountSecrets are the secrets that it lists, in its order.
	ServiceAccountSecrets []Secret
	// Secret is CredentialsNeed.Secret; nil if it does not exist.
	Secret *Secret
}

// Secret is what may be known of a secret.
type Secret struct {
	Name        string
	Annotations map[string]string
	// Keys are the names of its data.
	Keys []string
	// Public are the values that are no secret: addresses and switches.
	Public map[string]string
	// Storage describes the values that are entries of a storage-config secret.
	Storage map[string]StorageEntry
}

// StorageEntry is what is no secret of an entry in a storage-config secret.
type StorageEntry struct {
	Type              string `json:"type"`
	Bucket            string `json:"bucket"`
	CABundleConfigMap string `json:"cabundle_configmap"`
}

// publicKeys are the keys of secrets whose values are no secret and have to be
// known: they end up in names, or in other values.
var publicKeys = []string{
	keyHTTPSHost,
	envS3Endpoint, envS3UseHTTPS, envAWSRegion, envS3VerifySSL, envS3UseVirtualBucket, envS3UseAccelerate,
	envS3Anonymous, envAWSCABundle, envAWSCABundleConfigMap,
}

// SecretOf takes from a secret what may be known of it, and nothing else.
func SecretOf(secret *corev1.Secret) Secret {
	known := Secret{
		Name:        secret.Name,
		Annotations: maps.Clone(secret.Annotations),
		Keys:        slices.Sorted(maps.Keys(secret.Data)),
		Public:      map[string]string{},
		Storage:     map[string]StorageEntry{},
	}
	for key, value := range secret.Data {
		if slices.Contains(publicKeys, key) {
			known.Public[key] = string(value)
		}
		var entry StorageEntry
		if json.Unmarshal(value, &entry) == nil {
			known.Storage[key] = entry
		}
	}
	return known
}

func (s Secret) has(key string) bool {
	return slices.Contains(s.Keys, key)
}

// reference is a variable that takes its value from the secret.
func (s Secret) reference(variable, key string) corev1.EnvVar {
	return corev1.EnvVar{
		Name: variable,
		ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: s.Name},
			Key:                  key,
		}},
	}
}
