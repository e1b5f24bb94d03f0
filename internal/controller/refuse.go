// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/status"
)

// refuse returns why the InferenceService cannot run, whatever its model is: its mode, a field that
// the mode does not support, or its host names. It returns nil if it can run.
func (s *scope) refuse(ctx context.Context) (*problemError, error) {
	for _, check := range []func() *problemError{s.refuseMode, s.refuseUnsupported, s.refuseHosts} {
		if refused := check(); refused != nil {
			return refused, nil
		}
	}
	return s.refuseSharedHosts(ctx)
}

func refusedSpec(condition, reason, message string, args ...any) *problemError {
	return &problemError{status.Problem{
		Condition: condition,
		Reason:    reason,
		Message:   fmt.Sprintf(message, args...),
		Failure:   v1beta1.InvalidPredictorSpec,
	}}
}

// mode returns the current deployment mode, or the requested one if the predictor does not run yet.
// It is empty if the requested mode is not supported.
func (s *scope) mode() v1beta1.DeploymentMode {
	if current := s.currentMode(); current != "" {
		return current
	}
	if requested := s.requestedMode(); s.Backends[requested] != nil {
		return requested
	}
	return ""
}

// backend returns the backend of the mode. Without a mode there are no objects, so any backend will
// do.
func (s *scope) backend() Backend {
	if chosen := s.Backends[s.mode()]; chosen != nil {
		return chosen
	}
	return s.Backends[v1beta1.DeploymentModeStandard]
}

func (s *scope) currentMode() v1beta1.DeploymentMode {
	return cmp.Or(normaliseMode(v1beta1.DeploymentMode(s.isvc.Status.DeploymentMode)), s.recoveredMode)
}

// recoverMode finds the mode of an InferenceService whose status lacks it, by the objects that
// exist. If there are objects of several modes, the requested mode is used.
func (s *scope) recoverMode(ctx context.Context) error {
	if s.currentMode() != "" {
		return nil
	}
	var found []v1beta1.DeploymentMode
	for _, mode := range slices.Sorted(maps.Keys(s.Backends)) {
		session, err := s.Backends[mode].Observe(ctx, s.isvc)
		switch {
		case problemOf(err) != nil: // run observes again and reports the problem.
		case err != nil:
			return fmt.Errorf("looking for objects of %s mode: %w", mode, err)
		case session.Observation().Mode == mode:
			found = append(found, mode)
		}
	}
	if len(found) == 1 {
		s.recoveredMode = found[0]
	}
	return nil
}

// requestedMode returns the mode of the annotation, or else that of the configuration.
func (s *scope) requestedMode() v1beta1.DeploymentMode {
	if requested := s.isvc.Annotations[v1beta1.AnnotationDeploymentMode]; requested != "" {
		return normaliseMode(v1beta1.DeploymentMode(requested))
	}
	return v1beta1.DeploymentMode(s.Config.DeploymentMode)
}

// normaliseMode returns the current name of the mode.
func normaliseMode(mode v1beta1.DeploymentMode) v1beta1.DeploymentMode {
	switch mode {
	case v1beta1.DeploymentModeRawDeployment:
		return v1beta1.DeploymentModeStandard
	case v1beta1.DeploymentModeServerless:
		return v1beta1.DeploymentModeKnative
	default:
		return mode
	}
}

// refuseMode refuses a mode that is unknown, unsupported or different from the current one. A
// running InferenceService keeps its mode when the configured default changes.
func (s *scope) refuseMode() *problemError {
	requested := s.isvc.Annotations[v1beta1.AnnotationDeploymentMode]
	mode, current := s.requestedMode(), s.currentMode()
	switch {
	case current != "" && requested == "":
		return nil
	case s.Backends[mode] == nil:
		return refusedSpec(v1beta1.ConditionPredictorReady, reasonDeploymentMode,
			"metadata.annotations[%s]: deployment mode %q is not supported; write %s or %s, or remove the annotation",
			v1beta1.AnnotationDeploymentMode, cmp.Or(requested, string(mode)), v1beta1.DeploymentModeStandard, v1beta1.DeploymentModeKnative)
	case current != "" && mode != current:
		return refusedSpec(v1beta1.ConditionPredictorReady, reasonDeploymentModeChanged,
			"metadata.annotations[%s]: the mode of a live InferenceService cannot change from %s to %s; write %s or remove the annotation, and for another mode create an InferenceService of another name",
			v1beta1.AnnotationDeploymentMode, current, requested, current)
	}
	return nil
}

// refuseUnsupported refuses fields that would have no effect in the mode.
func (s *scope) refuseUnsupported() *problemError {
	if field, message := s.backend().Unsupported(s.isvc); field != "" {
		return refusedSpec(v1beta1.ConditionPredictorReady, string(v1beta1.InvalidPredictorSpec), "%s: %s", field, message)
	}
	label := backend.ClusterLocalLabel(s.isvc)
	if label != "" && s.mode() == v1beta1.DeploymentModeStandard && s.Config.Ingress.LocalGateway == nil {
		return refusedSpec(v1beta1.ConditionPredictorReady, reasonLocalGatewayNotDefined,
			"metadata.labels[%s]: %s needs a local gateway; remove the label, or have the administrator set ingress.localGateway in the operator's configuration",
			label, v1beta1.VisibilityClusterLocal)
	}
	return nil
}

// refuseHosts refuses names that lead to invalid host names. The length of a host name depends on
// the operator's templates and domain, so the CRD's schema cannot check it.
func (s *scope) refuseHosts() *problemError {
	for _, host := range hosts(s.isvc.Name, s.isvc.Namespace, s.Config.Ingress) {
		if err := config.CheckHost(host); err != nil {
			return refusedSpec(v1beta1.ConditionIngressReady, reasonHostName,
				"metadata.name: %v; give the InferenceService, or its namespace, a shorter name, or have the administrator set a shorter ingress.domain", err)
		}
	}
	return nil
}

// hosts returns all host names of an InferenceService.
func hosts(name, namespace string, ingress config.Ingress) []string {
	predictorName := backend.PredictorName(name)
	return []string{
		ingress.Host(name, namespace),
		ingress.Host(predictorName, namespace),
		ingress.TagHost(v1beta1.TagLatest, predictorName, namespace),
		ingress.TagHost(v1beta1.TagPrevious, predictorName, namespace),
	}
}

// indexByHost indexes InferenceServices by their host names.
const indexByHost = "serving.kserve.io/host"

// hostsOf returns the index function of indexByHost.
func hostsOf(ingress config.Ingress) client.IndexerFunc {
	return func(object client.Object) []string { return hosts(object.GetName(), object.GetNamespace(), ingress) }
}

// refuseSharedHosts refuses a host name that an older InferenceService has, because the gateway
// would mix the requests of two models. Three cases lead to equal hosts: «iris-predictor» is also
// the predictor of «iris»; the predictor of «latest-iris» is a tag of «iris»; and if a template
// joins name and namespace by a hyphen, «a-b» in «c» has the host of «a» in «b-c».
func (s *scope) refuseSharedHosts(ctx context.Context) (*problemError, error) {
	for _, host := range hosts(s.isvc.Name, s.isvc.Namespace, s.Config.Ingress) {
		other, err := s.olderWithHost(ctx, host)
		if err != nil {
			return nil, err
		}
		if other != nil {
			return refusedSpec(v1beta1.ConditionIngressReady, reasonHostTaken,
				"metadata.name: the host %q belongs to InferenceService %q in namespace %q; give this one another name",
				host, other.Name, other.Namespace), nil
		}
	}
	return nil, nil
}

// olderWithHost returns an older InferenceService with the host, or nil.
func (s *scope) olderWithHost(ctx context.Context, host string) (*v1beta1.InferenceService, error) {
	var others v1beta1.InferenceServiceList
	if err := s.Client.List(ctx, &others, client.MatchingFields{indexByHost: host}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("looking for InferenceServices with the host %q: %w", host, err)
	}
	for i := range others.Items {
		if other := &others.Items[i]; other.UID != s.isvc.UID && older(other, s.isvc) {
			return other, nil
		}
	}
	return nil, nil
}

// unusableHosts returns the hosts that the routes must not have: invalid ones and those of older
// InferenceServices. A refused InferenceService keeps running, so a change of the host templates
// could otherwise give its routes such a host.
func (s *scope) unusableHosts(ctx context.Context, current []string) (map[string]bool, error) {
	unusable := map[string]bool{}
	for _, host := range append(hosts(s.isvc.Name, s.isvc.Namespace, s.Config.Ingress), current...) {
		other, err := s.olderWithHost(ctx, host)
		if err != nil {
			return nil, err
		}
		if other != nil || config.CheckHost(host) != nil {
			unusable[host] = true
		}
	}
	return unusable, nil
}

func older(a, b *v1beta1.InferenceService) bool {
	return cmp.Or(
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
	) < 0
}
