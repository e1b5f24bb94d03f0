// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const (
	// InitializerName is the name of the init container that downloads the model.
	InitializerName = "storage-initializer"
)

const (
	defaultStorageSecret = "storage-config"

	envStorageConfig         = "STORAGE_CONFIG"
	envStorageOverrideConfig = "STORAGE_OVERRIDE_CONFIG"

	caBundleVolume      = "cabundle-cert"
	caBundlePath        = "/etc/ssl/custom-certs"
	envCABundleConfig   = "CA_BUNDLE_CONFIGMAP_NAME"
	envCABundleMountDir = "CA_BUNDLE_VOLUME_MOUNT_POINT"
)

type initializerBuilder struct {
	env     []corev1.EnvVar
	envFrom []corev1.EnvFromSource
	mounts  []corev1.VolumeMount
	volumes []corev1.Volume
	// hasSecret reports that a Secret of the service account or of the spec is used.
	hasSecret bool
}

// storageInitializer returns the container that downloads the model and the volumes that it needs
// in addition to the model's volume.
func (r *Resolved) storageInitializer(pod *corev1.PodSpec, credentials Credentials) (corev1.Container, []corev1.Volume, *Error) {
	builder := &initializerBuilder{}
	uri, err := builder.authenticate(r, credentials)
	if err != nil {
		err.InSecret = true
		return corev1.Container{}, nil, err
	}
	builder.useServerEnvironment(&pod.Containers[0], uri)
	builder.trustCABundle()
	builder.tuneDownload(uri)
	builder.addDefaults(r.settings.StorageInitializer.Env)
	return corev1.Container{
		Name:                     InitializerName,
		Image:                    r.settings.StorageInitializer.Image,
		Args:                     []string{uri, modelPath},
		Env:                      builder.env,
		EnvFrom:                  builder.envFrom,
		Resources:                *r.settings.StorageInitializer.Resources.DeepCopy(),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts:             append([]corev1.VolumeMount{{Name: downloadVolume, MountPath: modelPath}}, builder.mounts...),
		SecurityContext:          restrictedSecurityContext(pod, r.initializerUID()),
	}, builder.volumes, nil
}

// initializerUID returns the user ID of the container. The annotation is for service meshes whose
// proxy lets only its own user ID connect before the proxy has started.
func (r *Resolved) initializerUID() *int64 {
	if annotated, set := r.metadata.annotations.effective()[annotationStorageInitializerUID]; set {
		if uid, err := strconv.ParseInt(annotated, 10, 64); err == nil {
			return &uid
		}
	}
	return r.settings.StorageInitializer.UID
}

// restrictedSecurityContext returns a security context that complies with the restricted Pod
// Security Standard unless the container runs as root.
func restrictedSecurityContext(pod *corev1.PodSpec, uid *int64) *corev1.SecurityContext {
	context := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		RunAsUser:                uid,
	}
	if uid == nil && pod.SecurityContext != nil {
		uid = pod.SecurityContext.RunAsUser
	}
	if uid == nil || *uid != 0 {
		context.RunAsNonRoot = new(true)
	}
	return context
}

// authenticate adds the credentials to the container and returns the URI to download.
func (b *initializerBuilder) authenticate(r *Resolved, credentials Credentials) (string, *Error) {
	need := r.NeedsCredentials()
	if r.hasStorageSpec() {
		return b.useStorageSpec(r, need.Secret, credentials.Secret)
	}
	settings := r.settings.Credentials
	if account := credentials.ServiceAccountAnnotations; configuresS3(account) {
		b.env = append(b.env, s3Environment(account, nil, settings.S3)...)
		// Secrets override the service account that lists them.
		settings.S3 = settings.S3.withAnnotations(account)
	}
	if need.Secret == "" {
		for _, secret := range credentials.ServiceAccountSecrets {
			b.useSecret(secret, settings)
		}
		return r.source.uri, nil
	}
	if credentials.Secret == nil {
		return "", invalid(fmt.Sprintf("metadata.annotations[%s]", r.settings.Credentials.StorageSecretNameAnnotation),
			"%q: there is no such secret in namespace %s; create it, or remove the annotation", need.Secret, r.namespace)
	}
	b.useSecret(*credentials.Secret, settings)
	return r.source.uri, nil
}

// useStorageSpec takes the credentials and the missing parts of the URI from the spec's parameters
// and from an entry of a storage-config Secret.
func (b *initializerBuilder) useStorageSpec(r *Resolved, secretName string, secret *Secret) (string, *Error) {
	const field = modelField + ".storage"
	spec := r.spec.Model.Storage
	key := storageKey(spec.StorageKey, spec.Parameters["type"])
	found := secret != nil && secret.has(key)
	if spec.StorageKey != nil && secret == nil {
		return "", invalid(field+".key", "%q: there is no secret %s in namespace %s; create it, or use storageUri",
			key, secretName, r.namespace)
	}
	if spec.StorageKey != nil && !found {
		return "", invalid(field+".key", "%q is not a key of secret %s; its keys are %s",
			key, secretName, joinWords("and", secret.Keys))
	}
	entry := StorageEntry{Type: spec.Parameters["type"], Bucket: spec.Parameters["bucket"]}
	if found {
		b.hasSecret = true
		b.env = append(b.env, secret.variable(envStorageConfig, key))
		b.completeEntry(&entry, secret.Storage[key])
	}
	if len(spec.Parameters) > 0 {
		parameters, err := json.Marshal(spec.Parameters) // Sorted by key.
		if err != nil {
			return "", invalid(field+".parameters", "%v", err)
		}
		b.env = append(b.env, corev1.EnvVar{Name: envStorageOverrideConfig, Value: string(parameters)})
	}
	return completeURI(r.source.uri, entry, field)
}

func storageKey(named *string, storageType string) string {
	switch {
	case named != nil:
		return *named
	case storageType != "":
		return "default_" + storageType
	default:
		return "default"
	}
}

func (b *initializerBuilder) completeEntry(entry *StorageEntry, stored StorageEntry) {
	if entry.Type == "" {
		entry.Type = stored.Type
	}
	if entry.Bucket == "" {
		entry.Bucket = stored.Bucket
	}
	if stored.CABundleConfigMap != "" {
		b.env = append(b.env, corev1.EnvVar{Name: envAWSCABundleConfigMap, Value: stored.CABundleConfigMap})
	}
}

// completeURI replaces schemePlaceholder in a URI with the storage type and, for S3, the bucket.
func completeURI(uri string, entry StorageEntry, field string) (string, *Error) {
	modelPath, incomplete := strings.CutPrefix(uri, schemePlaceholder+"://")
	switch {
	case !incomplete:
		return uri, nil
	case entry.Type == "":
		return "", invalid(field, "does not say what type of storage it is; write parameters.type: s3, or put \"type\" into the entry of the secret")
	case !slices.Contains(storageSpecTypes, entry.Type):
		return "", invalid(field, "type %q is not supported here, in parameters or in the entry of the secret; write one of %s, or use storageUri",
			entry.Type, joinWords("or", storageSpecTypes))
	case entry.Type == "s3" && entry.Bucket == "":
		return "", invalid(field, "does not name the bucket; write parameters.bucket, or put \"bucket\" into the entry of the secret")
	case entry.Type == "s3":
		return fmt.Sprintf("s3://%s/%s", entry.Bucket, modelPath), nil
	default:
		return fmt.Sprintf("%s://%s", entry.Type, modelPath), nil
	}
}

func (b *initializerBuilder) trustCABundle() {
	configMap := envValue(b.env, envAWSCABundleConfigMap)
	if configMap == "" {
		return
	}
	directory := caBundlePath
	if bundle := envValue(b.env, envAWSCABundle); bundle != "" {
		directory = path.Dir(bundle)
	}
	b.env = addVariable(b.env, corev1.EnvVar{Name: envCABundleConfig, Value: configMap})
	b.env = addVariable(b.env, corev1.EnvVar{Name: envCABundleMountDir, Value: directory})
	volume := corev1.Volume{Name: caBundleVolume}
	volume.ConfigMap = &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: configMap}}
	b.mount(volume, directory)
}

func (b *initializerBuilder) tuneDownload(uri string) {
	if !strings.HasPrefix(uri, "hf://") {
		return
	}
	b.addDefaults(map[string]string{
		"HF_HUB_ENABLE_HF_TRANSFER":        "1",
		"HF_XET_HIGH_PERFORMANCE":          "1",
		"HF_XET_NUM_CONCURRENT_RANGE_GETS": "8",
	})
}

func (b *initializerBuilder) addDefaults(variables map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		b.env = addVariable(b.env, corev1.EnvVar{Name: name, Value: variables[name]})
	}
}

// mount mounts a volume unless one with the same name is mounted. If two Secrets are for the same
// kind of storage, the first one is used, because both have the same mount path.
func (b *initializerBuilder) mount(volume corev1.Volume, directory string) {
	if slices.ContainsFunc(b.volumes, func(v corev1.Volume) bool { return v.Name == volume.Name }) {
		return
	}
	b.volumes = append(b.volumes, volume)
	b.mounts = append(b.mounts, corev1.VolumeMount{Name: volume.Name, MountPath: directory, ReadOnly: true})
}

func envValue(env []corev1.EnvVar, name string) string {
	index := slices.IndexFunc(env, func(v corev1.EnvVar) bool { return v.Name == name })
	if index < 0 {
		return ""
	}
	return env[index].Value
}
