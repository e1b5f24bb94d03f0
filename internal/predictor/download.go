// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Download is what the storage initializer of a revision is given. It is stored
// beside the revision where it has been replaced, and must stay readable: fields
// are added, never renamed.
type Download struct {
	Args         []string               `json:"args,omitempty"`
	Env          []corev1.EnvVar        `json:"env,omitempty"`
	EnvFrom      []corev1.EnvFromSource `json:"envFrom,omitempty"`
	VolumeMounts []corev1.VolumeMount   `json:"volumeMounts,omitempty"`
	// Volumes are those with credentials.
	Volumes []corev1.Volume `json:"volumes,omitempty"`
}

// credentialVolumes are the volumes of the pod that hold credentials.
var credentialVolumes = []string{gcsVolume, hdfsVolume, caBundleVolume}

// credentialVariables are the variables that come out of a Secret or a service
// account and are no secret. All others of the kind refer to a Secret.
var credentialVariables = []string{
	envAWSEndpointURL, envAWSRegion, envAWSCABundle, envAWSCABundleConfigMap,
	envS3Endpoint, envS3UseHTTPS, envS3VerifySSL, envS3UseVirtualBucket, envS3UseAccelerate, envS3Anonymous,
	envGoogleCredentials,
}

// DownloadOf returns what the storage initializer in the pods of a revision is
// given; nil where there is none.
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

// Download returns what the storage initializer in the pods of a revision is
// given with these credentials; nil for a model that is not downloaded. It needs
// no serving runtime. Every error is an [*Error].
func (r *Resolved) Download(template *corev1.PodTemplateSpec, credentials Credentials) (*Download, error) {
	if r.NeedsCredentials() == (CredentialsNeed{}) {
		return nil, nil
	}
	container, volumes, err := r.initializer(&template.Spec, credentials)
	if err != nil {
		return nil, err
	}
	volumes = slices.DeleteFunc(volumes, func(v corev1.Volume) bool { return !slices.Contains(credentialVolumes, v.Name) })
	return &Download{Args: container.Args, Env: container.Env, EnvFrom: container.EnvFrom, VolumeMounts: container.VolumeMounts, Volumes: volumes}, nil
}

// ReplaceIn gives the storage initializer in the pods of a revision this instead
// of what it was given. A volume that the user brings stays.
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

// SameCredentials reports whether both get the same model with the same
// credentials. What the operator's configuration adds beside them does not count.
func (d *Download) SameCredentials(other *Download) bool {
	return slices.Equal(d.Args, other.Args) &&
		equality.Semantic.DeepEqual(d.credentials(), other.credentials()) &&
		equality.Semantic.DeepEqual(d.EnvFrom, other.EnvFrom) &&
		slices.Equal(d.volumeSources(), other.volumeSources())
}

func (d *Download) credentials() []corev1.EnvVar {
	var found []corev1.EnvVar
	for _, variable := range d.Env {
		if variable.ValueFrom != nil || slices.Contains(credentialVariables, variable.Name) {
			found = append(found, variable)
		}
	}
	return found
}

// volumeSources leaves out what the API server adds to a volume.
func (d *Download) volumeSources() []string {
	var found []string
	for _, volume := range d.Volumes {
		switch {
		case volume.Secret != nil:
			found = append(found, volume.Name+"=secret/"+volume.Secret.SecretName)
		case volume.ConfigMap != nil:
			found = append(found, volume.Name+"=configmap/"+volume.ConfigMap.Name)
		}
	}
	slices.Sort(found)
	return found
}

// Digest stands for all of it.
func (d *Download) Digest() string { return hash(d) }

// Secrets lists the Secrets that it refers to.
func (d *Download) Secrets() []string {
	var found []string
	for _, variable := range d.Env {
		if variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil {
			found = append(found, variable.ValueFrom.SecretKeyRef.Name)
		}
	}
	for _, source := range d.volumeSources() {
		if _, name, ok := strings.Cut(source, "=secret/"); ok {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// SecretsOfAccount is like Secrets, without those that the user refers to in the
// variables of a container.
func (d *Download) SecretsOfAccount(template *corev1.PodTemplateSpec) []string {
	rest := *d
	rest.Env = slices.DeleteFunc(slices.Clone(d.Env), func(variable corev1.EnvVar) bool {
		return slices.ContainsFunc(template.Spec.Containers, func(container corev1.Container) bool {
			return slices.ContainsFunc(container.Env, func(own corev1.EnvVar) bool { return equality.Semantic.DeepEqual(own, variable) })
		})
	})
	return rest.Secrets()
}

// NamesSecret reports whether the credentials are in a Secret that the spec names
// itself, by a storage key or by the annotation.
func (d *Download) NamesSecret(template *corev1.PodTemplateSpec, annotation string) bool {
	return template.Annotations[annotation] != "" || envValue(d.Env, envStorageOverrideConfig) != "" ||
		slices.ContainsFunc(d.Env, func(v corev1.EnvVar) bool { return v.Name == envStorageConfig })
}

// SecretsUsed lists those of the Secrets that a revision would refer to that was
// made with them now.
func SecretsUsed(secrets []Secret, settings CredentialSettings) []string {
	builder := &initializer{}
	for _, secret := range secrets {
		builder.useSecret(secret, settings)
	}
	return (&Download{Env: builder.env, Volumes: builder.volumes}).Secrets()
}

func initializerIndex(template *corev1.PodTemplateSpec) int {
	return slices.IndexFunc(template.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == InitializerName })
}
