// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// What secrets hold, and the variables that the storage initializer reads. The
// names are KServe's and those of the clients behind it.
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

// azureVariables are the variables that hold credentials for Azure, with the
// older key of a secret that may hold their value.
var azureVariables = []struct{ name, oldKey string }{
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

// azureKeys are those by which a secret is one for Azure.
var azureKeys = []string{"AZ_CLIENT_ID", "AZURE_CLIENT_ID", "AZURE_ACCESS_TOKEN", keyAzureStorageAccess}

// useSecret gives the container what a secret holds. The kind of storage that
// the secret is for shows in its keys; a secret of another kind, such as one
// for pulling images, is passed over.
func (i *initializer) useSecret(secret Secret, settings CredentialSettings) {
	s3Key := cmp.Or(settings.S3.SecretAccessKeyName, keyAWSSecretAccessKey)
	gcsKey := cmp.Or(settings.GCS.CredentialFileName, keyGCSCredentials)
	switch {
	case secret.has(s3Key):
		i.set(secret.variable(envAWSAccessKeyID, cmp.Or(settings.S3.AccessKeyIDName, keyAWSAccessKeyID)))
		i.set(secret.variable(envAWSSecretAccessKey, s3Key))
		i.set(s3Environment(secret.Annotations, secret.Public, settings.S3)...)
	case secret.has(gcsKey):
		i.mount(secret.volume(gcsVolume), gcsPath)
		i.set(corev1.EnvVar{Name: envGoogleCredentials, Value: gcsPath + gcsKey})
	case slices.ContainsFunc(azureKeys, secret.has):
		i.useAzure(secret)
	case secret.has(keyHTTPSHost) && secret.has(keyHTTPSHeaders):
		i.set(secret.variable(secret.Public[keyHTTPSHost]+"-headers", keyHTTPSHeaders))
	case secret.has(keyHDFSNameNode):
		i.mount(secret.volume(hdfsVolume), hdfsPath)
	case secret.has(keyHFToken):
		i.set(secret.variable(keyHFToken, keyHFToken))
	default:
		return
	}
	i.hasSecret = true
}

func (i *initializer) useAzure(secret Secret) {
	for _, variable := range azureVariables {
		switch {
		case variable.oldKey != "" && secret.has(variable.oldKey):
			i.set(secret.variable(variable.name, variable.oldKey))
		case secret.has(variable.name):
			i.set(secret.variable(variable.name, variable.name))
		}
	}
}

// set sets variables; of two secrets that set the same one, the later wins.
func (i *initializer) set(variables ...corev1.EnvVar) {
	for _, variable := range variables {
		i.env = setVariable(i.env, variable)
	}
}

func (s Secret) volume(name string) corev1.Volume {
	volume := corev1.Volume{Name: name}
	volume.Secret = &corev1.SecretVolumeSource{SecretName: s.Name}
	return volume
}

// s3Environment returns the variables for S3 that are no secret. An annotation
// decides, then a key of the secret, then the settings.
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

// s3Endpoint returns the variables that name a server of S3 other than
// Amazon's. A scheme in the address decides over the switch; without either it
// is https.
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
