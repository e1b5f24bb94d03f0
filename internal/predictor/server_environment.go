// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// serverVariables are the environment variables of a model server that the storage initializer also
// supports, by URI scheme.
var serverVariables = map[string][]string{
	"hf": {keyHFToken, "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"},
	"gs": {envGoogleCredentials},
	"s3": {
		envAWSAccessKeyID, envAWSSecretAccessKey, "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE", envS3Anonymous, envAWSEndpointURL, "AWS_ENDPOINT_URL_S3", envAWSRegion, "AWS_REGION",
		envS3Endpoint, envS3UseHTTPS, envS3VerifySSL, envS3UseVirtualBucket, envS3UseAccelerate, envAWSCABundle, envAWSCABundleConfigMap,
	},
	"https": {
		"AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", keyAzureStorageAccess, "AZURE_ACCESS_TOKEN",
		"AZURE_ACCESS_EXPIRES_ON_SECONDS", "AZURE_ACCOUNT_NAME", "AZURE_SERVICE_URL",
	},
}

var fileVariables = []string{
	envGoogleCredentials, "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", envAWSCABundle,
}

// useServerEnvironment copies the credentials in the model server's environment to the container.
// It does nothing if a Secret of the service account or of the spec is used, because that Secret is
// meant for downloads.
func (b *initializerBuilder) useServerEnvironment(server *corev1.Container, uri string) {
	scheme, _, _ := strings.Cut(uri, "://")
	supported := serverVariables[scheme]
	if b.hasSecret || len(supported) == 0 {
		return
	}
	for _, variable := range server.Env {
		if !slices.Contains(supported, variable.Name) || variable.Value == "" && variable.ValueFrom == nil {
			continue
		}
		if slices.Contains(fileVariables, variable.Name) && !b.mountFile(server, variable.Value) {
			continue
		}
		b.setEnv(*variable.DeepCopy())
	}
	if endpoint := envValue(b.env, envS3Endpoint); endpoint != "" {
		for _, variable := range s3Endpoint(endpoint, envValue(b.env, envS3UseHTTPS)) {
			b.env = addVariable(b.env, variable)
		}
	}
	for _, source := range server.EnvFrom {
		if source.SecretRef != nil {
			b.envFrom = append(b.envFrom, *source.DeepCopy())
		}
	}
}

// mountFile copies the server's mount that contains a file. It reports whether there is one.
func (b *initializerBuilder) mountFile(server *corev1.Container, file string) bool {
	for _, mount := range server.VolumeMounts {
		if mount.MountPath == modelPath || file != mount.MountPath && !strings.HasPrefix(file, strings.TrimSuffix(mount.MountPath, "/")+"/") {
			continue
		}
		if !slices.ContainsFunc(b.mounts, func(m corev1.VolumeMount) bool { return m.MountPath == mount.MountPath }) {
			b.mounts = append(b.mounts, *mount.DeepCopy())
		}
		return true
	}
	return false
}

func (s S3Settings) withAnnotations(annotations map[string]string) S3Settings {
	for name, setting := range map[string]*string{
		"s3-endpoint": &s.Endpoint, "s3-usehttps": &s.UseHTTPS, "s3-region": &s.Region, "s3-verifyssl": &s.VerifySSL,
		"s3-usevirtualbucket": &s.UseVirtualBucket, "s3-useaccelerate": &s.UseAccelerate, "s3-useanoncredential": &s.UseAnonymousCredential,
		"s3-cabundle": &s.CABundle, "s3-cabundle-configmap": &s.CABundleConfigMap,
	} {
		if value, set := annotations[annotationDomain+name]; set {
			*setting = value
		}
	}
	return s
}

func configuresS3(annotations map[string]string) bool {
	for key := range annotations {
		if key == annotationAWSRole || strings.HasPrefix(key, annotationDomain+"s3-") {
			return true
		}
	}
	return false
}
