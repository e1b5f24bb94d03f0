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
	xx                   = "storage-initializer"
	defaultStorageSecret = "storage-config"

	envStorageConfig         = "STORAGE_CONFIG"
	envStorageOverrideConfig = "STORAGE_OVERRIDE_CONFIG"

	caBundleVolume      = "cabundle-cert"
	caBundlePath        = "/etc/ssl/custom-certs"
	envCABundleConfig   = "CA_BUNDLE_CONFIGMAP_NAME"
	envCABundleMountDir = "CA_BUNDLE_VOLUME_MOUNT_POINT"
)

// initializer is the container that downloads the model, in the builder.
type initializer struct {
	env     []corev1.EnvVar
	envFrom []corev1.EnvFromSource
	mounts  []corev1.VolumeMount
	volumes []corev1.Volume
	// hasSecret says that credentials of the service account, or of the spec, are used.
	hasSecret bool
}

// initializer returns the container that downloads the model, and the volumes
// that it needs beside the model's own.
func (r *Resolved) initializer(pod *corev1.PodSpec, credentials Credentials) (corev1.Container, []corev1.Volume, *Error) {
	builder := &initializer{}
	uri, err := builder.authenticate(r, credentials)
	if err != nil {
		err.InSecret = true
		return corev1.Container{}, nil, err
	}
	builder.useServerEnvironment(&pod.Containers[0], uri)
	builder.trustCABundle()
	builder.tuneDownload(uri)
	builder.add(r.settings.StorageInitializer.Env)
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

// initializerUID returns the user of the container. The annotation serves
// meshes whose proxy lets only its own user through before it has started.
func (r *Resolved) initializerUID() *int64 {
	if annotated, set := r.metadata.annotations.effective()[annotationStorageInitializerUID]; set {
		if uid, err := strconv.ParseInt(annotated, 10, 64); err == nil {
			return &uid
		}
	}
	return r.settings.StorageInitializer.UID
}

// restrictedSecurityContext returns a security context that the restricted pod security
// standard admits, as far as the pod's own settings leave that possible.
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

// authenticate gives the container the credentials, and returns what it is to
// download.
func (i *initializer) authenticate(r *Resolved, credentials Credentials) (string, *Error) {
	need := r.NeedsCredentials()
	if r.hasStorageSpec() {
		return i.useStorageSpec(r, need.Secret, credentials.Secret)
	}
	settings := r.settings.Credentials
	if account := credentials.ServiceAccountAnnotations; configuresS3(account) {
		i.env = append(i.env, s3Environment(account, nil, settings.S3)...)
		// A secret says more than the account that lists it.
		settings.S3 = settings.S3.under(account)
	}
	if need.Secret == "" {
		for _, secret := range credentials.ServiceAccountSecrets {
			i.useSecret(secret, settings)
		}
		return r.source.uri, nil
	}
	if credentials.Secret == nil {
		return "", invalid(fmt.Sprintf("metadata.annotations[%s]", r.settings.Credentials.StorageSecretNameAnnotation),
			"%q: there is no such secret in namespace %s; create it, or remove the annotation", need.Secret, r.namespace)
	}
	i.useSecret(*credentials.Secret, settings)
	return r.source.uri, nil
}

// useStorageSpec takes the credentials, and what is missing of the URI, from an
// entry of a storage-config secret and from the parameters in the spec.
func (i *initializer) useStorageSpec(r *Resolved, secretName string, secret *Secret) (string, *Error) {
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
		i.hasSecret = true
		i.env = append(i.env, secret.variable(envStorageConfig, key))
		i.complete(&entry, secret.Storage[key])
	}
	if len(spec.Parameters) > 0 {
		parameters, err := json.Marshal(spec.Parameters) // Sorted by key.
		if err != nil {
			return "", invalid(field+".parameters", "%v", err)
		}
		i.env = append(i.env, corev1.EnvVar{Name: envStorageOverrideConfig, Value: string(parameters)})
	}
	return completeURI(r.source.uri, entry, field)
}

// storageKey returns the entry of the secret that counts: the named one, or
// else the default one for the type of storage.
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

// complete takes from the secret what the parameters leave open.
func (i *initializer) complete(entry *StorageEntry, stored StorageEntry) {
	if entry.Type == "" {
		entry.Type = stored.Type
	}
	if entry.Bucket == "" {
		entry.Bucket = stored.Bucket
	}
	if stored.CABundleConfigMap != "" {
		i.env = append(i.env, corev1.EnvVar{Name: envAWSCABundleConfigMap, Value: stored.CABundleConfigMap})
	}
}

// completeURI puts the type of storage, and where there is one the bucket, into
// a URI that lacks them.
func completeURI(uri string, entry StorageEntry, field string) (string, *Error) {
	modelPath, lacks := strings.CutPrefix(uri, schemePlaceholder+"://")
	switch {
	case !lacks:
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

// trustCABundle mounts the ConfigMap with certificates that the credentials
// name.
func (i *initializer) trustCABundle() {
	configMap := envValue(i.env, envAWSCABundleConfigMap)
	if configMap == "" {
		return
	}
	directory := caBundlePath
	if bundle := envValue(i.env, envAWSCABundle); bundle != "" {
		directory = path.Dir(bundle)
	}
	i.env = addVariable(i.env, corev1.EnvVar{Name: envCABundleConfig, Value: configMap})
	i.env = addVariable(i.env, corev1.EnvVar{Name: envCABundleMountDir, Value: directory})
	volume := corev1.Volume{Name: caBundleVolume}
	volume.ConfigMap = &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: configMap}}
	i.mount(volume, directory)
}

// tuneDownload sets what makes the client of the Hugging Face Hub fast.
func (i *initializer) tuneDownload(uri string) {
	if !strings.HasPrefix(uri, "hf://") {
		return
	}
	fast := map[string]string{
		"HF_HUB_ENABLE_HF_TRANSFER":        "1",
		"HF_XET_HIGH_PERFORMANCE":          "1",
		"HF_XET_NUM_CONCURRENT_RANGE_GETS": "8",
	}
	i.add(fast)
}

// add adds variables that nothing else has set.
func (i *initializer) add(variables map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		i.env = addVariable(i.env, corev1.EnvVar{Name: name, Value: variables[name]})
	}
}

// mount mounts a volume unless there is one of its name: of two secrets for the
// same kind of storage, which both are mounted at the same place, the first one
// holds.
func (i *initializer) mount(volume corev1.Volume, directory string) {
	if slices.ContainsFunc(i.volumes, func(v corev1.Volume) bool { return v.Name == volume.Name }) {
		return
	}
	i.volumes = append(i.volumes, volume)
	i.mounts = append(i.mounts, corev1.VolumeMount{Name: volume.Name, MountPath: directory, ReadOnly: true})
}

func envValue(env []corev1.EnvVar, name string) string {
	index := slices.IndexFunc(env, func(v corev1.EnvVar) bool { return v.Name == name })
	if index < 0 {
		return ""
	}
	return env[index].Value
}
