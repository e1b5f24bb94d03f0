// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// Settings are the operator's settings that shape pods. They are read when a
// revision is made and are no part of its identity.
type Settings struct {
	// Mode is how the pods are run. It never changes for one InferenceService, and is empty for the Standard one.
	Mode               v1beta1.DeploymentMode
	StorageInitializer StorageInitializer
	// Resources are what the serving container gets of each resource that neither
	// the InferenceService nor the serving runtime says anything about.
	Resources corev1.ResourceRequirements
	// ExcludedLabels and ExcludedAnnotations do not propagate to pods. An entry is
	// a key, or a prefix followed by "*".
	ExcludedLabels      []string
	ExcludedAnnotations []string
	Credentials         CredentialSettings
}

// StorageInitializer is the init container that fetches a model.
type StorageInitializer struct {
	Image     string
	Resources corev1.ResourceRequirements
	// UID is the user that it runs as; nil leaves that to the image.
	UID *int64
	// Env are variables, by name. Those that credentials set win.
	Env map[string]string
}

// CredentialSettings say how secrets hold credentials for storage. They are
// the credentials block of KServe's configuration.
type CredentialSettings struct {
	// StorageSpecSecretName is the secret that storage.key is a key of.
	StorageSpecSecretName string
	// StorageSecretNameAnnotation is the annotation with which an InferenceService
	// names another secret.
	StorageSecretNameAnnotation string
	GCS                         GCSSettings
	S3                          S3Settings
}

// GCSSettings are for Google Cloud Storage.
type GCSSettings struct {
	// CredentialFileName is the key under which a secret holds a key file.
	CredentialFileName string
}

// S3Settings are for S3. All but the first two are what holds where neither a
// secret nor a service account says anything; empty leaves it to the client.
type S3Settings struct {
	// AccessKeyIDName and SecretAccessKeyName are the keys under which a secret
	// holds an access key.
	AccessKeyIDName     string
	SecretAccessKeyName string

	Endpoint               string
	UseHTTPS               string
	Region                 string
	VerifySSL              string
	UseVirtualBucket       string
	UseAccelerate          string
	UseAnonymousCredential string
	CABundleConfigMap      string
	CABundle               string
}

// ShapingAnnotations are the annotations that pods are made by. One that is
// excluded from the pods has no effect, so it cannot be.
func ShapingAnnotations(storageSecretName string) []string {
	return []string{
		v1beta1.AnnotationEnablePrometheusScraping,
		v1beta1.AnnotationProgressDeadline,
		v1beta1.AnnotationStorageReadonly,
		annotationGKEAccelerator,
		annotationMetricsPath,
		annotationMetricsPort,
		annotationStorageInitializerUID,
		storageSecretName,
	}
}
