// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Download is the configuration of a revision's storage initializer. If it has been replaced, it is
// stored with the revision. Later versions must be able to read it: fields may be added but never
// renamed.
type Download struct {
	Args         []string               `json:"args,omitempty"`
	Env          []corev1.EnvVar        `json:"env,omitempty"`
	EnvFrom      []corev1.EnvFromSource `json:"envFrom,omitempty"`
	VolumeMounts []corev1.VolumeMount   `json:"volumeMounts,omitempty"`
	// Volumes are the volumes that contain credentials.
	Volumes []corev1.Volume `json:"volumes,omitempty"`
}

var credentialVolumes = []string{gcsVolume, hdfsVolume, caBundleVolume}

// credentialVariables are the variables whose values, which are not secret, come from a Secret or a
// service account. All other credential variables refer to a Secret.
var credentialVariables = []string{
	envAWSEndpointURL, envAWSRegion, envAWSCABundle, envAWSCABundleConfigMap,
	envS3Endpoint, envS3UseHTTPS, envS3VerifySSL, envS3UseVirtualBucket, envS3UseAccelerate, envS3Anonymous,
	envGoogleCredentials,
}

// DownloadOf returns the configuration of the storage initializer in a revision's pod template. It
// returns nil if there is no storage initializer.
func DownloadOf(template *corev1.PodTemplateSpec) *Download {
	index := initializerIndex(template)
	if index < 0 {
		return nil
	}
	container := template.Spec.InitContainers[index]
	download := &Download{Args: container.Args, Env: container.Env, EnvFrom: container.EnvFrom, VolumeMounts: container.VolumeMounts}
	for _, volume := range template.Spec.Volumes {
		if slices.Contains(credentialVolumes, volume.Name) {
			download.Volumes = append(download.Volumes, volume)
		}
	}
	return download
}

// Download returns the configuration of the storage initializer in a revision's pod template with
// the given credentials. It returns nil for a model that is not downloaded. It does not need a
// serving runtime. Every error is an [*Error].
func (r *Resolved) Download(template *corev1.PodTemplateSpec, credentials Credentials) (*Download, error) {
	if r.NeedsCredentials() == (CredentialsNeed{}) {
		return nil, nil
	}
	container, volumes, err := r.storageInitializer(&template.Spec, credentials)
	if err != nil {
		return nil, err
	}
	volumes = slices.DeleteFunc(volumes, func(v corev1.Volume) bool { return !slices.Contains(credentialVolumes, v.Name) })
	return &Download{Args: container.Args, Env: container.Env, EnvFrom: container.EnvFrom, VolumeMounts: container.VolumeMounts, Volumes: volumes}, nil
}

// ReplaceIn replaces the configuration of the storage initializer in a revision's pod template. It
// keeps volumes that the user provides.
func (d *Download) ReplaceIn(template *corev1.PodTemplateSpec) {
	index := initializerIndex(template)
	if index < 0 {
		return
	}
	container := &template.Spec.InitContainers[index]
	container.Args, container.Env, container.EnvFrom, container.VolumeMounts = d.Args, d.Env, d.EnvFrom, d.VolumeMounts
	template.Spec.Volumes = slices.DeleteFunc(slices.Clone(template.Spec.Volumes), func(v corev1.Volume) bool {
		return slices.Contains(credentialVolumes, v.Name) && (v.Secret != nil || v.ConfigMap != nil)
	})
	for _, volume := range d.Volumes {
		template.Spec.Volumes = addVolume(template.Spec.Volumes, volume)
	}
}

// SameCredentials reports whether both download the same model with the same credentials. It
// ignores variables from the operator's configuration.
func (d *Download) SameCredentials(other *Download) bool {
	return slices.Equal(d.Args, other.Args) &&
		equality.Semantic.DeepEqual(d.credentials(), other.credentials()) &&
		equality.Semantic.DeepEqual(d.EnvFrom, other.EnvFrom) &&
		slices.Equal(d.volumeSources(), other.volumeSources())
}

func (d *Download) credentials() []corev1.EnvVar {
	var variables []corev1.EnvVar
	for _, variable := range d.Env {
		if variable.ValueFrom != nil || slices.Contains(credentialVariables, variable.Name) {
			variables = append(variables, variable)
		}
	}
	return variables
}

// volumeSources returns the sources of the volumes without the defaults that the API server sets.
func (d *Download) volumeSources() []string {
	var sources []string
	for _, volume := range d.Volumes {
		switch {
		case volume.Secret != nil:
			sources = append(sources, volume.Name+"=secret/"+volume.Secret.SecretName)
		case volume.ConfigMap != nil:
			sources = append(sources, volume.Name+"=configmap/"+volume.ConfigMap.Name)
		}
	}
	slices.Sort(sources)
	return sources
}

// Hash returns the hash of the configuration.
func (d *Download) Hash() string { return hash(d) }

// Secrets returns the names of the Secrets that the configuration refers to.
func (d *Download) Secrets() []string {
	var names []string
	for _, variable := range d.Env {
		if variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil {
			names = append(names, variable.ValueFrom.SecretKeyRef.Name)
		}
	}
	for _, source := range d.volumeSources() {
		if _, name, ok := strings.Cut(source, "=secret/"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// SecretsOfAccount is like Secrets, but ignores variables that the user has set in a container.
func (d *Download) SecretsOfAccount(template *corev1.PodTemplateSpec) []string {
	rest := *d
	rest.Env = slices.DeleteFunc(slices.Clone(d.Env), func(variable corev1.EnvVar) bool {
		return slices.ContainsFunc(template.Spec.Containers, func(container corev1.Container) bool {
			return slices.ContainsFunc(container.Env, func(other corev1.EnvVar) bool { return equality.Semantic.DeepEqual(other, variable) })
		})
	})
	return rest.Secrets()
}

// NamesSecret reports whether the InferenceService itself names the Secret with the credentials,
// with a storage spec or with the annotation.
func (d *Download) NamesSecret(template *corev1.PodTemplateSpec, annotation string) bool {
	return template.Annotations[annotation] != "" || envValue(d.Env, envStorageOverrideConfig) != "" ||
		slices.ContainsFunc(d.Env, func(v corev1.EnvVar) bool { return v.Name == envStorageConfig })
}

// SecretsUsed returns the names of the given Secrets that a new revision would refer to.
func SecretsUsed(secrets []Secret, settings CredentialSettings) []string {
	builder := &initializerBuilder{}
	for _, secret := range secrets {
		builder.useSecret(secret, settings)
	}
	return (&Download{Env: builder.env, Volumes: builder.volumes}).Secrets()
}

func initializerIndex(template *corev1.PodTemplateSpec) int {
	return slices.IndexFunc(template.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == InitializerName })
}
