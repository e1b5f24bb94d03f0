// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The keys of Secrets and the environment variables of the storage initializer. The names are those
// of KServe and of its storage clients.
const (
	annotationAWSRole = "eks.amazonaws.com/role-arn"
	annotationDomain  = "serving.kserve.io/"

	envAWSAccessKeyID       = "AWS_ACCESS_KEY_ID"
	envAWSSecretAccessKey   = "AWS_SECRET_ACCESS_KEY"
	envAWSEndpointURL       = "AWS_ENDPOINT_URL"
	envAWSRegion            = "AWS_DEFAULT_REGION"
	envAWSCABundle          = "AWS_CA_BUNDLE"
	envAWSCABundleConfigMap = "AWS_CA_BUNDLE_CONFIGMAP"
	envS3Endpoint           = "S3_ENDPOINT"
	envS3UseHTTPS           = "S3_USE_HTTPS"
	envS3VerifySSL          = "S3_VERIFY_SSL"
	envS3UseVirtualBucket   = "S3_USER_VIRTUAL_BUCKET"
	envS3UseAccelerate      = "S3_USE_ACCELERATE"
	envS3Anonymous          = "awsAnonymousCredential"

	envGoogleCredentials = "GOOGLE_APPLICATION_CREDENTIALS"

	keyAWSAccessKeyID     = "awsAccessKeyID"
	keyAWSSecretAccessKey = "awsSecretAccessKey"
	keyGCSCredentials     = "gcloud-application-credentials.json"
	keyHTTPSHost          = "https-host"
	keyHTTPSHeaders       = "headers"
	keyHDFSNameNode       = "HDFS_NAMENODE"
	keyHFToken            = "HF_TOKEN"
	keyAzureStorageAccess = "AZURE_STORAGE_ACCESS_KEY"

	gcsVolume  = "user-gcp-sa"
	gcsPath    = "/var/secrets/"
	hdfsVolume = "hdfs-secrets"
	hdfsPath   = "/var/secrets/kserve-hdfscreds"
)

// azureVariables are the variables for Azure. A Secret may have the legacy key instead.
var azureVariables = []struct{ name, legacyKey string }{
	{"AZURE_SUBSCRIPTION_ID", "AZ_SUBSCRIPTION_ID"},
	{"AZURE_TENANT_ID", "AZ_TENANT_ID"},
	{"AZURE_CLIENT_ID", "AZ_CLIENT_ID"},
	{"AZURE_CLIENT_SECRET", "AZ_CLIENT_SECRET"},
	{keyAzureStorageAccess, ""},
	{"AZURE_ACCESS_TOKEN", ""},
	{"AZURE_ACCESS_EXPIRES_ON_SECONDS", ""},
	{"AZURE_ACCOUNT_NAME", ""},
	{"AZURE_SERVICE_URL", ""},
}

var azureKeys = []string{"AZ_CLIENT_ID", "AZURE_CLIENT_ID", "AZURE_ACCESS_TOKEN", keyAzureStorageAccess}

// useSecret adds the credentials in a Secret to the container. The Secret's keys determine the kind
// of storage. Other Secrets, such as image pull secrets, are ignored.
func (b *initializerBuilder) useSecret(secret Secret, settings CredentialSettings) {
	s3Key := cmp.Or(settings.S3.SecretAccessKeyName, keyAWSSecretAccessKey)
	gcsKey := cmp.Or(settings.GCS.CredentialFileName, keyGCSCredentials)
	switch {
	case secret.has(s3Key):
		b.setEnv(secret.variable(envAWSAccessKeyID, cmp.Or(settings.S3.AccessKeyIDName, keyAWSAccessKeyID)))
		b.setEnv(secret.variable(envAWSSecretAccessKey, s3Key))
		b.setEnv(s3Environment(secret.Annotations, secret.Public, settings.S3)...)
	case secret.has(gcsKey):
		b.mount(secret.volume(gcsVolume), gcsPath)
		b.setEnv(corev1.EnvVar{Name: envGoogleCredentials, Value: gcsPath + gcsKey})
	case slices.ContainsFunc(azureKeys, secret.has):
		b.useAzure(secret)
	case secret.has(keyHTTPSHost) && secret.has(keyHTTPSHeaders):
		b.setEnv(secret.variable(secret.Public[keyHTTPSHost]+"-headers", keyHTTPSHeaders))
	case secret.has(keyHDFSNameNode):
		b.mount(secret.volume(hdfsVolume), hdfsPath)
	case secret.has(keyHFToken):
		b.setEnv(secret.variable(keyHFToken, keyHFToken))
	default:
		return
	}
	b.hasSecret = true
}

func (b *initializerBuilder) useAzure(secret Secret) {
	for _, variable := range azureVariables {
		switch {
		case variable.legacyKey != "" && secret.has(variable.legacyKey):
			b.setEnv(secret.variable(variable.name, variable.legacyKey))
		case secret.has(variable.name):
			b.setEnv(secret.variable(variable.name, variable.name))
		}
	}
}

// setEnv sets variables. Later Secrets override earlier ones.
func (b *initializerBuilder) setEnv(variables ...corev1.EnvVar) {
	for _, variable := range variables {
		b.env = setVariable(b.env, variable)
	}
}

func (s Secret) volume(name string) corev1.Volume {
	volume := corev1.Volume{Name: name}
	volume.Secret = &corev1.SecretVolumeSource{SecretName: s.Name}
	return volume
}

// s3Environment returns the variables for S3 that are not secret. Annotations override the keys of
// the Secret, which override the settings.
func s3Environment(annotations, public map[string]string, settings S3Settings) []corev1.EnvVar {
	value := func(annotation, key, setting string) string {
		if annotated, set := annotations[annotationDomain+annotation]; set {
			return annotated
		}
		if stored, set := public[key]; set {
			return stored
		}
		return setting
	}
	endpoint := strings.TrimSpace(value("s3-endpoint", envS3Endpoint, settings.Endpoint))
	useHTTPS := value("s3-usehttps", envS3UseHTTPS, settings.UseHTTPS)
	variables := append(s3Endpoint(endpoint, useHTTPS), []corev1.EnvVar{
		{Name: envS3VerifySSL, Value: value("s3-verifyssl", envS3VerifySSL, settings.VerifySSL)},
		{Name: envS3Anonymous, Value: value("s3-useanoncredential", envS3Anonymous, settings.UseAnonymousCredential)},
		{Name: envAWSRegion, Value: value("s3-region", envAWSRegion, settings.Region)},
		{Name: envS3UseVirtualBucket, Value: value("s3-usevirtualbucket", envS3UseVirtualBucket, settings.UseVirtualBucket)},
		{Name: envS3UseAccelerate, Value: value("s3-useaccelerate", envS3UseAccelerate, settings.UseAccelerate)},
		{Name: envAWSCABundle, Value: value("s3-cabundle", envAWSCABundle, settings.CABundle)},
		{Name: envAWSCABundleConfigMap, Value: value("s3-cabundle-configmap", envAWSCABundleConfigMap, settings.CABundleConfigMap)},
	}...)
	return slices.DeleteFunc(variables, func(v corev1.EnvVar) bool { return v.Value == "" })
}

// s3Endpoint returns the variables for an S3 endpoint other than Amazon's. A scheme in the endpoint
// overrides useHTTPS. The default is https.
func s3Endpoint(endpoint, useHTTPS string) []corev1.EnvVar {
	if endpoint == "" {
		return nil
	}
	scheme, host, hasScheme := strings.Cut(endpoint, "://")
	switch {
	case !hasScheme && useHTTPS == "0":
		scheme, host = "http", endpoint
	case !hasScheme:
		scheme, host = "https", endpoint
	case strings.EqualFold(scheme, "http"):
		useHTTPS = "0"
	default:
		useHTTPS = "1"
	}
	return []corev1.EnvVar{
		{Name: envS3UseHTTPS, Value: useHTTPS},
		{Name: envS3Endpoint, Value: host},
		{Name: envAWSEndpointURL, Value: strings.ToLower(scheme) + "://" + host},
	}
}
