// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package config is the operator's own configuration: one typed, versioned,
// strictly decoded file.
//
// A value that is left out keeps its default; config/manager/config.yaml shows
// every key with its default and what it does. A mistake in the file is found
// by [Load], before the operator does anything, and is reported under the name
// of the key that holds it.
package config

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// APIVersion is the version of the file that this package reads.
	APIVersion = "config.serinus.io/v1alpha1"
	// Kind is the kind that the file must name.
	Kind = "OperatorConfiguration"

	// LeaseName is the name of the Lease with which a leader is elected. It is no
	// setting, because the operator's Role gives access to this one Lease only.
	LeaseName = "serinus-controller-manager"
)

// Config is the operator's configuration.
//
// The only ways to get one are [Default] and [Load]; the zero value is not
// usable, because its host templates are empty.
type Config struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	// DeploymentMode is how a predictor runs whose InferenceService names no
	// mode of its own.
	DeploymentMode DeploymentMode `json:"deploymentMode"`

	Ingress            Ingress            `json:"ingress"`
	Rollout            Rollout            `json:"rollout"`
	Propagation        Propagation        `json:"propagation"`
	StorageInitializer StorageInitializer `json:"storageInitializer"`
	Predictor          Predictor          `json:"predictor"`
	Credentials        Credentials        `json:"credentials"`
	Controller         Controller         `json:"controller"`
	LeaderElection     LeaderElection     `json:"leaderElection"`
	Metrics            Metrics            `json:"metrics"`
	Health             Health             `json:"health"`
}

// DeploymentMode is one of the two ways to run a predictor.
type DeploymentMode string

const (
	// Standard runs Deployments behind a Gateway API route.
	Standard DeploymentMode = "Standard"
	// Knative runs Knative Services.
	Knative DeploymentMode = "Knative"
)

// Ingress says under which addresses InferenceServices are reached, and
// through which gateway.
type Ingress struct {
	// Domain is the last part of every host.
	Domain string `json:"domain"`
	// URLScheme is http or https; it is what status.url begins with.
	URLScheme string `json:"urlScheme"`
	// HostTemplate makes the hosts of an InferenceService and of its predictor.
	HostTemplate HostTemplate `json:"hostTemplate"`
	// TagHostTemplate makes the host of one tagged revision.
	TagHostTemplate HostTemplate `json:"tagHostTemplate"`
	// Gateway is the Gateway that the routes attach to.
	Gateway GatewayRef `json:"gateway"`
	// LocalGateway, if there is one, serves requests from inside the cluster.
	LocalGateway *LocalGateway `json:"localGateway,omitempty"`
	// ClusterDomain is the DNS domain of the cluster.
	ClusterDomain string `json:"clusterDomain"`
	// RequestTimeout is the request timeout of routes to predictors that set none;
	// 0 is none. Nil is DefaultRequestTimeout, where every GatewayClass says that
	// it applies timeouts.
	RequestTimeout *metav1.Duration `json:"requestTimeout,omitempty"`
}

// DefaultRequestTimeout is also what Knative gives a request by default.
const DefaultRequestTimeout = 5 * time.Minute

// GatewayRef names a Gateway of the Gateway API.
type GatewayRef struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// SectionName restricts routes to one listener; empty means all of them.
	SectionName string `json:"sectionName"`
}

// LocalGateway names a Gateway for requests from inside the cluster, and the
// Service that leads to it.
type LocalGateway struct {
	Namespace   string     `json:"namespace"`
	Name        string     `json:"name"`
	SectionName string     `json:"sectionName"`
	Service     ServiceRef `json:"service"`
}

// ServiceRef names a Service.
type ServiceRef struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// Rollout holds the times and limits of a rollout.
type Rollout struct {
	// DrainPeriod passes between the gateway accepting a weight of 0 and the
	// scale-down of the revision that had it. It covers the requests under way
	// and a data plane that follows late, as after a restart of the gateway.
	DrainPeriod metav1.Duration `json:"drainPeriod"`
	// SettlePeriod is how long a write of status waits for the gateway to take
	// a route over, so that the two are reported in one write.
	SettlePeriod metav1.Duration `json:"settlePeriod"`
	// CapacityHold is how long replicas that were brought up for a shift of
	// traffic are held against the autoscaler.
	CapacityHold metav1.Duration `json:"capacityHold"`
	// ProgressDeadline is the age at which a revision that never became ready
	// counts as failed.
	ProgressDeadline metav1.Duration `json:"progressDeadline"`
	// RevisionHistoryLimit is how many revisions can be brought back.
	RevisionHistoryLimit int32 `json:"revisionHistoryLimit"`
}

// Propagation lists what an InferenceService keeps to itself. An entry is the
// key of an annotation or label, or a prefix with its slash and a star.
type Propagation struct {
	ExcludedAnnotations []string `json:"excludedAnnotations"`
	ExcludedLabels      []string `json:"excludedLabels"`
}

// StorageInitializer is the init container that downloads a model.
type StorageInitializer struct {
	Image     string    `json:"image"`
	Resources Resources `json:"resources"`
	// RunAsUser is the numeric user of the container; nil leaves it to the image.
	RunAsUser *int64 `json:"runAsUser,omitempty"`
	// Env are variables of the container, by name. Those that credentials set win.
	Env map[string]string `json:"env,omitempty"`
}

// Predictor holds the defaults of the serving container.
type Predictor struct {
	Resources Resources `json:"resources"`
}

// Resources are compute resources. A map that the file gives replaces the
// default map as a whole, so that a default can also be taken away.
type Resources struct {
	Requests corev1.ResourceList `json:"requests"`
	Limits   corev1.ResourceList `json:"limits"`
}

// Requirements returns a copy of r for a container.
func (r Resources) Requirements() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: r.Requests.DeepCopy(), Limits: r.Limits.DeepCopy()}
}

// Credentials say how Secrets hold the access to object stores. The keys are
// those of the credentials block in KServe's inferenceservice-config, so that
// the block of an existing installation can be carried over as it is.
type Credentials struct {
	StorageSpecSecretName       string         `json:"storageSpecSecretName"`
	StorageSecretNameAnnotation string         `json:"storageSecretNameAnnotation"`
	GCS                         GCSCredentials `json:"gcs"`
	S3                          S3Credentials  `json:"s3"`
}

// GCSCredentials are Credentials for Google Cloud Storage.
type GCSCredentials struct {
	GCSCredentialFileName string `json:"gcsCredentialFileName"`
}

// S3Credentials are Credentials for S3. Switches are strings, "1" or "0", and
// empty where the client's own default shall hold.
type S3Credentials struct {
	S3AccessKeyIDName        string `json:"s3AccessKeyIDName"`
	S3SecretAccessKeyName    string `json:"s3SecretAccessKeyName"`
	S3Endpoint               string `json:"s3Endpoint"`
	S3UseHTTPS               string `json:"s3UseHttps"`
	S3Region                 string `json:"s3Region"`
	S3VerifySSL              string `json:"s3VerifySSL"`
	S3UseVirtualBucket       string `json:"s3UseVirtualBucket"`
	S3UseAccelerate          string `json:"s3UseAccelerate"`
	S3UseAnonymousCredential string `json:"s3UseAnonymousCredential"`
	S3CABundleConfigMap      string `json:"s3CABundleConfigMap"`
	S3CABundle               string `json:"s3CABundle"`
}

// Controller holds the operator's own pace.
type Controller struct {
	// Concurrency is how many InferenceServices are worked on at a time.
	Concurrency int `json:"concurrency"`
	// KubeAPIQPS limits requests to the API server; -1 means no limit.
	KubeAPIQPS float32 `json:"kubeAPIQPS"`
	// KubeAPIBurst is how far KubeAPIQPS may be exceeded for a moment.
	KubeAPIBurst int `json:"kubeAPIBurst"`
	// ResyncPeriod is how often everything is looked at again without a cause.
	ResyncPeriod metav1.Duration `json:"resyncPeriod"`
	// GracefulShutdownTimeout is how long work in progress may take to end.
	GracefulShutdownTimeout metav1.Duration `json:"gracefulShutdownTimeout"`
}

// LeaderElection says whether and how one of several replicas is chosen to act.
type LeaderElection struct {
	Enabled       bool            `json:"enabled"`
	LeaseDuration metav1.Duration `json:"leaseDuration"`
	RenewDeadline metav1.Duration `json:"renewDeadline"`
	RetryPeriod   metav1.Duration `json:"retryPeriod"`
	// Namespace holds the Lease; empty means the namespace the operator runs in.
	Namespace string `json:"namespace"`
}

// Metrics is the endpoint that Prometheus reads.
type Metrics struct {
	// BindAddress is host:port, or "0" for no endpoint.
	BindAddress string `json:"bindAddress"`
	// Secure serves HTTPS, to clients that may read /metrics only.
	Secure bool `json:"secure"`
	// CertDir holds tls.crt and tls.key; empty makes a self-signed certificate.
	CertDir string `json:"certDir"`
}

// Health is the endpoint of the kubelet's probes.
type Health struct {
	// BindAddress is host:port, or "0" for no endpoint.
	BindAddress string `json:"bindAddress"`
}
