// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// Settings are the operator's settings that affect pods. They are applied when a revision is
// created and are not part of its identity.
type Settings struct {
	// Mode is the deployment mode. It never changes for an InferenceService. Empty means Standard.
	Mode               v1beta1.DeploymentMode
	StorageInitializer StorageInitializer
	// Resources are the serving container's defaults for resources that neither the
	// InferenceService nor the serving runtime sets.
	Resources corev1.ResourceRequirements
	// ExcludedLabels and ExcludedAnnotations do not propagate to pods. An entry is a key or a
	// prefix followed by "*".
	ExcludedLabels      []string
	ExcludedAnnotations []string
	Credentials         CredentialSettings
}

// StorageInitializer configures the init container that downloads a model.
type StorageInitializer struct {
	Image     string
	Resources corev1.ResourceRequirements
	// UID is the user ID of the container. If nil, the image's user is used.
	UID *int64
	// Env holds environment variables by name. Credentials override them.
	Env map[string]string
}

// CredentialSettings describes the Secrets with credentials for storage. It is a part of the
// configuration file. It has the form of credentials in KServe's inferenceservice-config, so that an
// existing one can be copied.
type CredentialSettings struct {
	// StorageSpecSecretName is the Secret that contains storage.key.
	StorageSpecSecretName string `json:"storageSpecSecretName"`
	// StorageSecretNameAnnotation lets an InferenceService name another Secret.
	StorageSecretNameAnnotation string      `json:"storageSecretNameAnnotation"`
	GCS                         GCSSettings `json:"gcs"`
	S3                          S3Settings  `json:"s3"`
}

// GCSSettings are for Google Cloud Storage.
type GCSSettings struct {
	// CredentialFileName is the key of a Secret that contains a key file.
	CredentialFileName string `json:"gcsCredentialFileName"`
}

// S3Settings are for S3. Booleans are the strings "1" and "0".
type S3Settings struct {
	// AccessKeyIDName and SecretAccessKeyName are the keys of a Secret that contain an access key.
	AccessKeyIDName     string `json:"s3AccessKeyIDName"`
	SecretAccessKeyName string `json:"s3SecretAccessKeyName"`

	// Defaults for values that neither a Secret nor a service account sets. If empty, the client's
	// default applies.
	Endpoint               string `json:"s3Endpoint"`
	UseHTTPS               string `json:"s3UseHttps"`
	Region                 string `json:"s3Region"`
	VerifySSL              string `json:"s3VerifySSL"`
	UseVirtualBucket       string `json:"s3UseVirtualBucket"`
	UseAccelerate          string `json:"s3UseAccelerate"`
	UseAnonymousCredential string `json:"s3UseAnonymousCredential"`
	CABundleConfigMap      string `json:"s3CABundleConfigMap"`
	CABundle               string `json:"s3CABundle"`
}

// ShapingAnnotations returns the annotations that affect pods. They cannot be excluded from
// propagation, because they would have no effect.
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
