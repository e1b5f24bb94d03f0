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
	// modelPath is where servers find the model.
	modelPath = "/mnt/models"

	downloadVolume = "kserve-provision-location"
	claimVolume    = "kserve-pvc-source"
	imageVolume    = "kserve-oci-source"
	// imageFolder is where an image holds a model.
	imageFolder = "models"

	envCustomStorageURI = "STORAGE_URI"
	schemePlaceholder   = "<scheme>"
	azureBlobHost       = ".blob.core.windows.net"
	azureFilesHost      = ".file.core.windows.net"
)

// sourceKind is a way for a model to get to its server.
type sourceKind int

const (
	// noSource: the image holds the model, or the server fetches it by itself.
	noSource sourceKind = iota
	// download: an init container fetches it into a volume.
	download
	// claim: it is on a volume that exists.
	claim
	// image: it is in an image, which is mounted.
	image
)

// source is where a model comes from.
type source struct {
	kind sourceKind
	// uri is what is downloaded. Its scheme may be schemePlaceholder: then
	// the storage spec knows it.
	uri string
	// claim and path are a volume claim and a folder in it.
	claim, path string
	// reference is an image.
	reference string
}

// downloadSchemes are those that the storage initializer knows.
var downloadSchemes = []string{"gs", "s3", "http", "https", "hf", "file", "hdfs", "webhdfs"}

// storageSpecTypes are the types of storage that a storage spec can name, as in KServe:
// those with credentials in a storage-config secret.
var storageSpecTypes = []string{"s3", "hdfs", "webhdfs"}

// supportedStorage is the list for messages.
const supportedStorage = "write one of gs://, s3://, hf://, pvc://, oci://, oci+native://, https://, http://, hdfs://, webhdfs://, file://, " +
	"https://<account>.blob.core.windows.net/<container>/<path>, or a local path"

var (
	azureBlob = regexp.MustCompile(`^https://[^/]+\.blob\.core\.windows\.net/.+`)
	imageName = regexp.MustCompile(`^[\w.\-]+(:\d+)?(/[\w.\-]+)*(:[\w.\-]+)?(@[\w]+:[0-9a-fA-F]+)?$`)
	noModel   = source{}
)

// sourceOf finds out where the model of a normalised predictor comes from.
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

// customSource finds the model of a container of the user's own, which names it
// in a variable.
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
		return noModel, invalid(field, "%q names nothing; write what follows %s://", uri, scheme)
	case scheme == "pvc":
		return parseClaim(field, uri, rest)
	case scheme == "oci" || scheme == "oci+native":
		if !imageName.MatchString(rest) {
			return noModel, invalid(field, "%q: %q is not the name of an image; write oci://registry/repository:tag", uri, rest)
		}
		return source{kind: image, reference: rest}, nil
	case scheme == "modelscope":
		return noModel, invalid(field, "%q: downloads from ModelScope are not supported; copy the model to a store that is, "+
			"or to a volume that pvc://<claim>/<path> names", uri)
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

// isAzureFiles reports whether a URI is a folder in Azure Files, for which there is no listing over plain HTTPS. A file
// with a signature in its address is a download like any other.
func isAzureFiles(uri string) bool {
	address, err := url.Parse(uri)
	return err == nil && address.Scheme == "https" && strings.HasSuffix(address.Hostname(), azureFilesHost) && !address.Query().Has("sig")
}

// parseLocal takes a path in the storage initializer's own image, but not a URI
// that lacks its slashes.
func parseLocal(field, uri string) (source, *Error) {
	scheme, _, _ := strings.Cut(uri, ":")
	if scheme != uri && slices.Contains(append([]string{"pvc", "oci", "modelscope"}, downloadSchemes...), scheme) {
		return noModel, invalid(field, "%q lacks its slashes; write %s://…", uri, scheme)
	}
	return source{kind: download, uri: uri}, nil
}

func parseClaim(field, uri, rest string) (source, *Error) {
	name, folder, _ := strings.Cut(rest, "/")
	if mistakes := validation.IsDNS1123Subdomain(name); len(mistakes) > 0 {
		return noModel, invalid(field, "%q: %q is not the name of a PersistentVolumeClaim; write pvc://<claim>/<path>", uri, name)
	}
	if slices.Contains(strings.Split(folder, "/"), "..") {
		return noModel, invalid(field, "%q: a path in a volume cannot contain ..", uri)
	}
	return source{kind: claim, claim: name, path: strings.Trim(path.Clean("/"+folder), "/")}, nil
}

// NeedsCredentials says what [Resolved.Render] has to know of the namespace.
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

// provideModel gives the model to the server.
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
	initializer, volumes, err := r.initializer(pod, credentials)
	if err != nil {
		return err
	}
	pod.InitContainers = append(pod.InitContainers, initializer)
	for _, volume := range volumes {
		pod.Volumes = addVolume(pod.Volumes, volume)
	}
	return nil
}

// hasInitializer tells whether the user brings their own, and with it all that
// it needs.
func hasInitializer(containers []corev1.Container) bool {
	return slices.ContainsFunc(containers, func(c corev1.Container) bool { return c.Name == InitializerName })
}

// mountModel mounts the model's volume into the containers that want it.
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

// addVolume adds a volume unless there is one of its name. One that the user
// brings is kept, for example an ephemeral one for models that are larger than
// a node's disk.
func addVolume(volumes []corev1.Volume, volume corev1.Volume) []corev1.Volume {
	if slices.ContainsFunc(volumes, func(v corev1.Volume) bool { return v.Name == volume.Name }) {
		return volumes
	}
	return append(volumes, volume)
}
