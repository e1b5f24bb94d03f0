// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"cmp"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/serinus-io/serinus/api/v1beta1"
)

const (
	modelPath = "/mnt/models"

	downloadVolume = "kserve-provision-location"
	claimVolume    = "kserve-pvc-source"
	imageVolume    = "kserve-oci-source"
	// imageFolder is the directory of the model in an OCI image.
	imageFolder = "models"

	envCustomStorageURI = "STORAGE_URI"
	schemePlaceholder   = "<scheme>"
	azureBlobHost       = ".blob.core.windows.net"
	azureFilesHost      = ".file.core.windows.net"
)

type sourceKind int

const (
	noSource sourceKind = iota // The server's image contains the model, or the server downloads it.
	download                   // The storage initializer downloads the model.
	claim                      // A PersistentVolumeClaim contains the model.
	image                      // An OCI image that is mounted as a volume contains the model.
)

type source struct {
	kind sourceKind
	// uri has schemePlaceholder as its scheme until the storage spec is resolved.
	uri string
	// claim is the name of a PersistentVolumeClaim and path a directory in it.
	claim, path string
	reference   string
}

var downloadSchemes = []string{"gs", "s3", "http", "https", "hf", "file", "hdfs", "webhdfs"}

// storageSpecTypes are the storage types that a storage spec can have, as in KServe: those with
// credentials in a storage-config Secret.
var storageSpecTypes = []string{"s3", "hdfs", "webhdfs"}

const supportedStorage = "write one of gs://, s3://, hf://, pvc://, oci://, oci+native://, https://, http://, hdfs://, webhdfs://, file://, " +
	"https://<account>.blob.core.windows.net/<container>/<path>, or a local path"

var (
	azureBlob = regexp.MustCompile(`^https://[^/]+\.blob\.core\.windows\.net/.+`)
	imageName = regexp.MustCompile(`^[\w.\-]+(:\d+)?(/[\w.\-]+)*(:[\w.\-]+)?(@[\w]+:[0-9a-fA-F]+)?$`)
	noModel   = source{}
)

func sourceOf(spec *v1beta1.PredictorSpec) (source, *Error) {
	if spec.Model == nil {
		return customSource(spec.Containers[0])
	}
	const uriField, storageField = modelField + ".storageUri", modelField + ".storage"
	model := spec.Model
	switch {
	case model.StorageURI != nil && model.Storage != nil && model.Storage.Path != nil:
		return noModel, invalid(storageField+".path", "%q: the model is already named by storageUri; remove one of the two", *model.Storage.Path)
	case model.StorageURI != nil:
		return parseSource(uriField, *model.StorageURI)
	case model.Storage != nil && (model.Storage.Path == nil || *model.Storage.Path == ""):
		return noModel, invalid(storageField+".path", "is not set; write the path of the model in its bucket, or use storageUri")
	case model.Storage != nil:
		return source{kind: download, uri: schemePlaceholder + "://" + strings.TrimPrefix(*model.Storage.Path, "/")}, nil
	default:
		return noModel, nil
	}
}

func customSource(serving corev1.Container) (source, *Error) {
	for _, variable := range serving.Env {
		if variable.Name == envCustomStorageURI && variable.Value != "" {
			return parseSource(predictorField+".containers["+serving.Name+"].env["+envCustomStorageURI+"]", variable.Value)
		}
	}
	return noModel, nil
}

func parseSource(field, uri string) (source, *Error) {
	scheme, rest, isURI := strings.Cut(uri, "://")
	switch {
	case uri == "":
		return noModel, invalid(field, "is empty; %s", supportedStorage)
	case !isURI:
		return parseLocal(field, uri)
	case rest == "":
		return noModel, invalid(field, "%q is incomplete; write a location after %s://", uri, scheme)
	case scheme == "pvc":
		return parseClaim(field, uri, rest)
	case scheme == "oci" || scheme == "oci+native":
		if !imageName.MatchString(rest) {
			return noModel, invalid(field, "%q: %q is not the name of an image; write oci://registry/repository:tag", uri, rest)
		}
		return source{kind: image, reference: rest}, nil
	case scheme == "modelscope":
		return noModel, invalid(field, "%q: downloads from ModelScope are not supported; copy the model to a supported store, "+
			"or to a PersistentVolumeClaim and write pvc://<claim>/<path>", uri)
	case isAzureFiles(uri):
		return noModel, invalid(field, "%q: downloads from Azure Files are not supported; make a PersistentVolumeClaim of the share "+
			"and write pvc://<claim>/<path>, or move the model to Azure Blob Storage", uri)
	case strings.Contains(uri, azureBlobHost) && !azureBlob.MatchString(uri):
		return noModel, invalid(field, "%q is not an address in Azure Blob Storage; "+
			"write https://<account>.blob.core.windows.net/<container>/<path>", uri)
	case slices.Contains(downloadSchemes, scheme):
		return source{kind: download, uri: uri}, nil
	default:
		return noModel, invalid(field, "%q: storage %s:// is not supported; %s", uri, scheme, supportedStorage)
	}
}

// isAzureFiles reports whether a URI is a directory in Azure Files, which cannot be listed over
// plain HTTPS. A single file with a signature in its URL can be downloaded like any other.
func isAzureFiles(uri string) bool {
	address, err := url.Parse(uri)
	return err == nil && address.Scheme == "https" && strings.HasSuffix(address.Hostname(), azureFilesHost) && !address.Query().Has("sig")
}

// parseLocal parses a path in the storage initializer's image. It rejects a URI without slashes
// after its scheme.
func parseLocal(field, uri string) (source, *Error) {
	scheme, _, _ := strings.Cut(uri, ":")
	if scheme != uri && slices.Contains(append([]string{"pvc", "oci", "modelscope"}, downloadSchemes...), scheme) {
		return noModel, invalid(field, "%q has no // after its scheme; write %s://…", uri, scheme)
	}
	return source{kind: download, uri: uri}, nil
}

func parseClaim(field, uri, rest string) (source, *Error) {
	name, folder, _ := strings.Cut(rest, "/")
	if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
		return noModel, invalid(field, "%q: %q is not the name of a PersistentVolumeClaim; write pvc://<claim>/<path>", uri, name)
	}
	if slices.Contains(strings.Split(folder, "/"), "..") {
		return noModel, invalid(field, "%q: a path in a volume cannot contain ..", uri)
	}
	return source{kind: claim, claim: name, path: strings.Trim(path.Clean("/"+folder), "/")}, nil
}

// NeedsCredentials returns the names of the objects whose credentials [Resolved.Render] needs.
func (r *Resolved) NeedsCredentials() CredentialsNeed {
	if r.source.kind != download || hasInitializer(r.spec.InitContainers) {
		return CredentialsNeed{}
	}
	secret := r.metadata.annotations.effective()[r.settings.Credentials.StorageSecretNameAnnotation]
	if r.hasStorageSpec() {
		return CredentialsNeed{Secret: cmp.Or(secret, r.settings.Credentials.StorageSpecSecretName, defaultStorageSecret)}
	}
	return CredentialsNeed{ServiceAccount: cmp.Or(r.spec.ServiceAccountName, "default"), Secret: secret}
}

func (r *Resolved) hasStorageSpec() bool {
	return r.spec.Model != nil && r.spec.Model.Storage != nil
}

func (r *Resolved) provideModel(pod *corev1.PodSpec, credentials Credentials) *Error {
	switch r.source.kind {
	case noSource:
		return nil
	case claim:
		volume := corev1.Volume{Name: claimVolume}
		volume.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: r.source.claim}
		return r.mountModel(pod, volume, r.source.path)
	case image:
		volume := corev1.Volume{Name: imageVolume}
		volume.Image = &corev1.ImageVolumeSource{Reference: r.source.reference, PullPolicy: corev1.PullIfNotPresent}
		return r.mountModel(pod, volume, imageFolder)
	case download:
	}
	if hasInitializer(pod.InitContainers) {
		return nil
	}
	volume := corev1.Volume{Name: downloadVolume}
	volume.EmptyDir = &corev1.EmptyDirVolumeSource{}
	if err := r.mountModel(pod, volume, ""); err != nil {
		return err
	}
	initializer, volumes, err := r.storageInitializer(pod, credentials)
	if err != nil {
		return err
	}
	pod.InitContainers = append(pod.InitContainers, initializer)
	for _, volume := range volumes {
		pod.Volumes = addVolume(pod.Volumes, volume)
	}
	return nil
}

// hasInitializer reports whether the user provides a storage initializer. Serinus then adds neither
// volumes nor credentials.
func hasInitializer(containers []corev1.Container) bool {
	return slices.ContainsFunc(containers, func(c corev1.Container) bool { return c.Name == InitializerName })
}

func (r *Resolved) mountModel(pod *corev1.PodSpec, volume corev1.Volume, subPath string) *Error {
	pod.Volumes = addVolume(pod.Volumes, volume)
	for i := range pod.Containers {
		container := &pod.Containers[i]
		if !isServing(*container) && container.Name != transformerContainerName {
			continue
		}
		if mounted := mountAt(container, modelPath); mounted != nil && mounted.Name != volume.Name {
			return invalid(predictorField, "container %s mounts volume %s at %s, where the model belongs; "+
				"mount it elsewhere, or remove storageUri", container.Name, mounted.Name, modelPath)
		} else if mounted != nil {
			continue
		}
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{
			Name:      volume.Name,
			MountPath: modelPath,
			SubPath:   subPath,
			ReadOnly:  volume.Image != nil || r.metadata.annotations.effective()[v1beta1.AnnotationStorageReadonly] != "false",
		})
		if r.spec.Model == nil && isServing(*container) && slices.ContainsFunc(container.Env, isCustomStorageURI) {
			container.Env = setVariable(container.Env, corev1.EnvVar{Name: envCustomStorageURI, Value: modelPath})
		}
	}
	return nil
}

func isCustomStorageURI(variable corev1.EnvVar) bool {
	return variable.Name == envCustomStorageURI
}

func mountAt(container *corev1.Container, mountPath string) *corev1.VolumeMount {
	index := slices.IndexFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == mountPath })
	if index < 0 {
		return nil
	}
	return &container.VolumeMounts[index]
}

// addVolume adds a volume unless one with the same name exists. This lets users provide the volume,
// for example an ephemeral volume for a model that is larger than a node's disk.
func addVolume(volumes []corev1.Volume, volume corev1.Volume) []corev1.Volume {
	if slices.ContainsFunc(volumes, func(v corev1.Volume) bool { return v.Name == volume.Name }) {
		return volumes
	}
	return append(volumes, volume)
}
