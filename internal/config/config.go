// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package config defines the operator's configuration file, which is typed, versioned and strictly
// decoded.
//
// Omitted values have defaults. config/manager/config.yaml documents every key and its default.
// [Load] reports all invalid keys by name, before the operator starts.
package config

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/internal/predictor"
)

const (
	// APIVersion is the version of the file that this package reads.
	APIVersion = "config.serinus.io/v1alpha1"
	// Kind is the kind of the file.
	Kind = "OperatorConfiguration"

	// LeaseName is the name of the Lease for leader election. It is not configurable, because the
	// operator's Role grants access to this Lease only.
	LeaseName = "serinus-controller-manager"
)

// Config is the operator's configuration. Use [Default] or [Load] to create one: the zero value is
// invalid, because its host templates are empty.
type Config struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	// DeploymentMode applies to InferenceServices that do not set a mode.
	DeploymentMode DeploymentMode `json:"deploymentMode"`

	Ingress            Ingress                      `json:"ingress"`
	Rollout            Rollout                      `json:"rollout"`
	Propagation        Propagation                  `json:"propagation"`
	StorageInitializer StorageInitializer           `json:"storageInitializer"`
	Predictor          Predictor                    `json:"predictor"`
	Credentials        predictor.CredentialSettings `json:"credentials"`
	Controller         Controller                   `json:"controller"`
	LeaderElection     LeaderElection               `json:"leaderElection"`
	Metrics            Metrics                      `json:"metrics"`
	Health             Health                       `json:"health"`
}

// DeploymentMode is how a predictor is deployed.
type DeploymentMode string

const (
	// Standard uses Deployments and Gateway API routes.
	Standard DeploymentMode = "Standard"
	// Knative uses Knative Services.
	Knative DeploymentMode = "Knative"
)

// Ingress configures the host names of InferenceServices, and the Gateways that serve them.
type Ingress struct {
	Domain string `json:"domain"`
	// URLScheme is the scheme of status.url: http or https.
	URLScheme string `json:"urlScheme"`
	// HostTemplate is the template for the hosts of an InferenceService and its predictor.
	HostTemplate HostTemplate `json:"hostTemplate"`
	// TagHostTemplate is the template for the host of a tagged revision.
	TagHostTemplate HostTemplate `json:"tagHostTemplate"`
	// Gateway is the Gateway that the routes attach to.
	Gateway GatewayRef `json:"gateway"`
	// LocalGateway serves requests from inside the cluster. It is optional.
	LocalGateway  *LocalGateway `json:"localGateway,omitempty"`
	ClusterDomain string        `json:"clusterDomain"`
	// RequestTimeout is the request timeout of routes to predictors that set none. 0 means no
	// timeout. Nil means DefaultRequestTimeout if every GatewayClass reports that it supports
	// timeouts.
	RequestTimeout *metav1.Duration `json:"requestTimeout,omitempty"`
}

// DefaultRequestTimeout is the same as Knative's default.
const DefaultRequestTimeout = 5 * time.Minute

// GatewayRef names a Gateway of the Gateway API.
type GatewayRef struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// SectionName restricts routes to one listener. Empty means all listeners.
	SectionName string `json:"sectionName"`
}

// LocalGateway names a Gateway for requests from inside the cluster, and its Service.
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

// Rollout configures the durations and limits of a rollout.
type Rollout struct {
	// DrainPeriod is the time between the acceptance of a weight of 0 and the scale-down of the
	// revision. It covers requests in flight and a data plane that is late, such as after a restart
	// of the gateway.
	DrainPeriod metav1.Duration `json:"drainPeriod"`
	// SettlePeriod is how long a status update waits for the gateway to accept a route, so that one
	// update reports both.
	SettlePeriod metav1.Duration `json:"settlePeriod"`
	// CapacityHold is how long the autoscaler may not remove replicas that were added for a traffic
	// shift.
	CapacityHold metav1.Duration `json:"capacityHold"`
	// ProgressDeadline is the age at which a revision that was never ready fails.
	ProgressDeadline metav1.Duration `json:"progressDeadline"`
	// RevisionHistoryLimit is the number of revisions that are kept for a rollback.
	RevisionHistoryLimit int32 `json:"revisionHistoryLimit"`
}

// Propagation lists the annotations and labels of InferenceServices that are not copied to pods. An
// entry is a key, or a prefix such as example.com/*.
type Propagation struct {
	ExcludedAnnotations []string `json:"excludedAnnotations"`
	ExcludedLabels      []string `json:"excludedLabels"`
}

// StorageInitializer is the init container that downloads a model.
type StorageInitializer struct {
	Image     string    `json:"image"`
	Resources Resources `json:"resources"`
	// RunAsUser is the container's user ID. Nil means the image's user.
	RunAsUser *int64 `json:"runAsUser,omitempty"`
	// Env are the container's variables. Those of credentials take precedence.
	Env map[string]string `json:"env,omitempty"`
}

// Predictor configures the defaults of the serving container.
type Predictor struct {
	Resources Resources `json:"resources"`
}

// Resources are compute resources. A map in the file replaces the whole default map, so that a
// default can be removed.
type Resources struct {
	Requests corev1.ResourceList `json:"requests"`
	Limits   corev1.ResourceList `json:"limits"`
}

// Requirements returns a copy of r for a container.
func (r Resources) Requirements() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: r.Requests.DeepCopy(), Limits: r.Limits.DeepCopy()}
}

// Controller configures the controller and its API client.
type Controller struct {
	// Concurrency is the maximum number of concurrent reconciliations.
	Concurrency int `json:"concurrency"`
	// KubeAPIQPS limits requests per second to the API server. -1 means no limit.
	KubeAPIQPS float32 `json:"kubeAPIQPS"`
	// KubeAPIBurst is the maximum burst of requests above KubeAPIQPS.
	KubeAPIBurst int `json:"kubeAPIBurst"`
	// ResyncPeriod is the interval of reconciliations without an event.
	ResyncPeriod metav1.Duration `json:"resyncPeriod"`
	// GracefulShutdownTimeout is how long a shutdown waits for running reconciliations.
	GracefulShutdownTimeout metav1.Duration `json:"gracefulShutdownTimeout"`
}

// LeaderElection configures the election of a leader among several replicas.
type LeaderElection struct {
	Enabled       bool            `json:"enabled"`
	LeaseDuration metav1.Duration `json:"leaseDuration"`
	RenewDeadline metav1.Duration `json:"renewDeadline"`
	RetryPeriod   metav1.Duration `json:"retryPeriod"`
	// Namespace is the Lease's namespace. Empty means the operator's namespace.
	Namespace string `json:"namespace"`
}

// Metrics configures the endpoint for Prometheus.
type Metrics struct {
	BindAddress string `json:"bindAddress"`
	// Secure enables HTTPS, and requires that clients are authorized to read /metrics.
	Secure bool `json:"secure"`
	// CertDir contains tls.crt and tls.key. Empty means a self-signed certificate.
	CertDir string `json:"certDir"`
}

// Health configures the endpoint for the kubelet's probes.
type Health struct {
	BindAddress string `json:"bindAddress"`
}
