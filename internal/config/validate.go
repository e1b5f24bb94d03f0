// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/serinus-io/serinus/internal/predictor"
)

const minRevisionHistory = 10

type fieldErrors []error

func (m *fieldErrors) add(key, format string, args ...any) {
	*m = append(*m, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
}

func (c *Config) validate() error {
	var m fieldErrors
	m.checkVersion(c)
	checkOneOf(&m, "deploymentMode", c.DeploymentMode, Standard, Knative)
	m.checkIngress(c.Ingress)
	m.checkRollout(c.Rollout)
	m.checkKeys("propagation.excludedAnnotations", c.Propagation.ExcludedAnnotations)
	m.checkKeys("propagation.excludedLabels", c.Propagation.ExcludedLabels)
	m.checkPodAnnotations("propagation.excludedAnnotations", c.Propagation.ExcludedAnnotations,
		predictor.ShapingAnnotations(c.Credentials.StorageSecretNameAnnotation))
	m.checkStorageInitializer(c.StorageInitializer)
	m.checkResources("predictor.resources", c.Predictor.Resources)
	m.checkCredentials(c.Credentials)
	m.checkController(c.Controller)
	m.checkLeaderElection(c.LeaderElection)
	m.checkBindAddress("metrics.bindAddress", c.Metrics.BindAddress)
	m.checkBindAddress("health.bindAddress", c.Health.BindAddress)
	if c.Metrics.CertDir != "" && !c.Metrics.Secure {
		m.add("metrics.certDir", "%q is not used while metrics.secure is false; set it to true or leave certDir empty", c.Metrics.CertDir)
	}
	return errors.Join(m...)
}

func (m *fieldErrors) checkVersion(c *Config) {
	if c.APIVersion != APIVersion {
		m.add("apiVersion", "%q is not a version that this operator reads; write %s", c.APIVersion, APIVersion)
	}
	if c.Kind != Kind {
		m.add("kind", "%q is not the kind of this file; write %s", c.Kind, Kind)
	}
}

func (m *fieldErrors) checkIngress(i Ingress) {
	checkOneOf(m, "ingress.urlScheme", i.URLScheme, "http", "https")
	m.checkSubdomain("ingress.clusterDomain", i.ClusterDomain)
	if m.checkSubdomain("ingress.domain", i.Domain) {
		m.checkHostTemplate("ingress.hostTemplate", i.HostTemplate, i.Domain, []string{"Name", "Namespace"}, []string{"Tag"})
		m.checkHostTemplate("ingress.tagHostTemplate", i.TagHostTemplate, i.Domain, []string{"Tag", "Name", "Namespace"}, nil)
	}
	m.checkLabel("ingress.gateway.namespace", i.Gateway.Namespace)
	m.checkSubdomain("ingress.gateway.name", i.Gateway.Name)
	m.checkOptionalSubdomain("ingress.gateway.sectionName", i.Gateway.SectionName)
	if timeout := i.RequestTimeout; timeout != nil {
		m.checkNotNegative("ingress.requestTimeout", *timeout)
		if timeout.Duration%time.Second != 0 {
			m.add("ingress.requestTimeout", "%s is not a whole number of seconds; write e.g. 30s", timeout.Duration)
		}
	}
	if local := i.LocalGateway; local != nil {
		m.checkLabel("ingress.localGateway.namespace", local.Namespace)
		m.checkSubdomain("ingress.localGateway.name", local.Name)
		m.checkOptionalSubdomain("ingress.localGateway.sectionName", local.SectionName)
		m.checkLabel("ingress.localGateway.service.namespace", local.Service.Namespace)
		m.checkLabel("ingress.localGateway.service.name", local.Service.Name)
	}
}

// checkHostTemplate checks the placeholders, and the host for sample values. Without the required
// placeholders, two InferenceServices or revisions would share a host and receive each other's
// requests.
func (m *fieldErrors) checkHostTemplate(key string, t HostTemplate, domain string, required, forbidden []string) {
	for _, name := range required {
		if !t.uses(name) {
			m.add(key, "%q lacks {{.%s}}, without which different objects would share a host", t, name)
		}
	}
	for _, name := range forbidden {
		if t.uses(name) {
			m.add(key, "%q has {{.%s}}, which is allowed in ingress.tagHostTemplate only", t, name)
		}
	}
	host := t.fill(hostValues{tag: "latest", name: "sklearn-iris-predictor", namespace: "kserve-test", domain: domain})
	if err := CheckHost(host); err != nil {
		m.add(key, "%q does not produce valid DNS names: e.g. %v", t, err)
	}
}

func (m *fieldErrors) checkRollout(r Rollout) {
	m.checkNotNegative("rollout.drainPeriod", r.DrainPeriod)
	m.checkNotNegative("rollout.settlePeriod", r.SettlePeriod)
	m.checkNotNegative("rollout.capacityHold", r.CapacityHold)
	m.checkAtLeast("rollout.progressDeadline", r.ProgressDeadline, time.Second)
	if r.RevisionHistoryLimit < minRevisionHistory {
		m.add("rollout.revisionHistoryLimit", "%d is too few; write %d or more", r.RevisionHistoryLimit, minRevisionHistory)
	}
}

func (m *fieldErrors) checkStorageInitializer(s StorageInitializer) {
	if s.Image == "" || strings.ContainsAny(s.Image, " \t\n") {
		m.add("storageInitializer.image", "%q is not the name of an image; write e.g. %s", s.Image, Default().StorageInitializer.Image)
	}
	if s.RunAsUser != nil && *s.RunAsUser < 0 {
		m.add("storageInitializer.runAsUser", "%d is not a user; write 0 or more, or leave the key out", *s.RunAsUser)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if problems := validation.IsEnvVarName(name); len(problems) > 0 {
			m.add("storageInitializer.env", "%q is not the name of an environment variable; write e.g. AWS_ENDPOINT_URL", name)
		}
	}
	m.checkResources("storageInitializer.resources", s.Resources)
}

func (m *fieldErrors) checkResources(key string, r Resources) {
	for _, list := range []struct {
		key    string
		values corev1.ResourceList
	}{{key + ".limits", r.Limits}, {key + ".requests", r.Requests}} {
		for _, name := range sortedNames(list.values) {
			if problems := validation.IsQualifiedName(string(name)); len(problems) > 0 {
				m.add(list.key, "%q is not the name of a resource; write e.g. cpu, memory or nvidia.com/gpu", name)
			}
			if value := list.values[name]; value.Sign() < 0 {
				m.add(join(list.key, string(name)), "%s is negative", value.String())
			}
		}
	}
	for _, name := range sortedNames(r.Requests) {
		request := r.Requests[name]
		if limit, ok := r.Limits[name]; ok && request.Cmp(limit) > 0 {
			m.add(join(key+".requests", string(name)), "%s is more than the limit of %s", request.String(), limit.String())
		}
	}
}

func sortedNames(list corev1.ResourceList) []corev1.ResourceName {
	names := make([]corev1.ResourceName, 0, len(list))
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (m *fieldErrors) checkCredentials(c predictor.CredentialSettings) {
	m.checkSubdomain("credentials.storageSpecSecretName", c.StorageSpecSecretName)
	m.checkQualifiedName("credentials.storageSecretNameAnnotation", c.StorageSecretNameAnnotation)
	m.checkSecretKey("credentials.gcs.gcsCredentialFileName", c.GCS.CredentialFileName)
	m.checkSecretKey("credentials.s3.s3AccessKeyIDName", c.S3.AccessKeyIDName)
	m.checkSecretKey("credentials.s3.s3SecretAccessKeyName", c.S3.SecretAccessKeyName)
	if strings.Contains(c.S3.Endpoint, "://") {
		m.add("credentials.s3.s3Endpoint", "%q has a scheme; write host and port only, and choose the scheme with s3UseHttps", c.S3.Endpoint)
	}
	m.checkSwitch("credentials.s3.s3UseHttps", c.S3.UseHTTPS)
	m.checkSwitch("credentials.s3.s3VerifySSL", c.S3.VerifySSL)
	m.checkSwitch("credentials.s3.s3UseVirtualBucket", c.S3.UseVirtualBucket)
	m.checkSwitch("credentials.s3.s3UseAccelerate", c.S3.UseAccelerate)
	m.checkSwitch("credentials.s3.s3UseAnonymousCredential", c.S3.UseAnonymousCredential)
	m.checkOptionalSubdomain("credentials.s3.s3CABundleConfigMap", c.S3.CABundleConfigMap)
}

func (m *fieldErrors) checkController(c Controller) {
	if c.Concurrency < 1 {
		m.add("controller.concurrency", "%d is too few; write 1 or more", c.Concurrency)
	}
	switch {
	case c.KubeAPIQPS == 0:
		// client-go replaces 0 by its default of 5.
		m.add("controller.kubeAPIQPS", "0 is not a rate; write -1 for no limit")
	case c.KubeAPIQPS > 0 && c.KubeAPIBurst < 1:
		m.add("controller.kubeAPIBurst", "%d is too few for a limited rate; write 1 or more, e.g. twice controller.kubeAPIQPS", c.KubeAPIBurst)
	}
	m.checkAtLeast("controller.resyncPeriod", c.ResyncPeriod, time.Minute)
	m.checkNotNegative("controller.gracefulShutdownTimeout", c.GracefulShutdownTimeout)
}

func (m *fieldErrors) checkLeaderElection(l LeaderElection) {
	if l.Namespace != "" {
		m.checkLabel("leaderElection.namespace", l.Namespace)
	}
	m.checkAtLeast("leaderElection.retryPeriod", l.RetryPeriod, time.Second)
	if l.RenewDeadline.Duration <= l.RetryPeriod.Duration*6/5 {
		m.add("leaderElection.renewDeadline", "%s is too short; write more than 1.2 times leaderElection.retryPeriod (%s)",
			l.RenewDeadline.Duration, l.RetryPeriod.Duration)
	}
	if l.LeaseDuration.Duration <= l.RenewDeadline.Duration {
		m.add("leaderElection.leaseDuration", "%s is too short; write more than leaderElection.renewDeadline (%s)",
			l.LeaseDuration.Duration, l.RenewDeadline.Duration)
	}
}

func (m *fieldErrors) checkBindAddress(key, address string) {
	if address == "0" {
		return
	}
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		m.add(key, `%q is not an address to listen on; write e.g. ":8443", or "0" for none`, address)
	}
}

// checkKeys checks that each entry is a key, or a prefix such as argocd.argoproj.io/*.
func (m *fieldErrors) checkKeys(key string, entries []string) {
	for i, entry := range entries {
		sample := entry
		if prefix, ok := strings.CutSuffix(entry, "/*"); ok {
			sample = prefix + "/any"
		}
		if problems := validation.IsQualifiedName(sample); len(problems) > 0 {
			m.add(fmt.Sprintf("%s[%d]", key, i), "%q is neither a key such as example.com/team nor a prefix such as example.com/*", entry)
		}
	}
}

// checkPodAnnotations returns errors for excluded annotations that determine the pod template. No
// label does.
func (m *fieldErrors) checkPodAnnotations(key string, entries, annotations []string) {
	for i, entry := range entries {
		for _, annotation := range annotations {
			if predictor.Matches(annotation, entry) {
				m.add(fmt.Sprintf("%s[%d]", key, i), "%q excludes the annotation %s, which configures the pods; list only the keys to exclude", entry, annotation)
			}
		}
	}
}

func (m *fieldErrors) checkSubdomain(key, value string) bool {
	problems := validation.IsDNS1123Subdomain(value)
	if len(problems) > 0 {
		m.add(key, "%q is not a DNS name; use lower-case letters, digits, inner dashes and dots, at most 253 characters", value)
	}
	return len(problems) == 0
}

func (m *fieldErrors) checkOptionalSubdomain(key, value string) {
	if value != "" {
		m.checkSubdomain(key, value)
	}
}

func (m *fieldErrors) checkLabel(key, value string) {
	if problems := validation.IsDNS1123Label(value); len(problems) > 0 {
		m.add(key, "%q is not a name; use lower-case letters, digits and inner dashes, at most 63 characters", value)
	}
}

func (m *fieldErrors) checkQualifiedName(key, value string) {
	if problems := validation.IsQualifiedName(value); len(problems) > 0 {
		m.add(key, "%q is not the key of an annotation; write e.g. example.com/secret", value)
	}
}

func (m *fieldErrors) checkSecretKey(key, value string) {
	if problems := validation.IsConfigMapKey(value); len(problems) > 0 {
		m.add(key, "%q is not a key of a Secret; use letters, digits, dashes, dots and underscores", value)
	}
}

func (m *fieldErrors) checkSwitch(key, value string) {
	if !slices.Contains([]string{"", "0", "1", "false", "true"}, strings.ToLower(value)) {
		m.add(key, `%q is not a switch; write "1", "0" or ""`, value)
	}
}

func (m *fieldErrors) checkNotNegative(key string, d metav1.Duration) {
	m.checkAtLeast(key, d, 0)
}

func (m *fieldErrors) checkAtLeast(key string, d metav1.Duration, minimum time.Duration) {
	if d.Duration < minimum {
		m.add(key, "%s is too short; write %s or more", d.Duration, minimum)
	}
}

func checkOneOf[T ~string](m *fieldErrors, key string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	texts := make([]string, len(allowed))
	for i, a := range allowed {
		texts[i] = string(a)
	}
	m.add(key, "%q is not supported; write %s", value, strings.Join(texts, " or "))
}
