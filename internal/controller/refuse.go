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

// refuse finds what keeps the InferenceService from being run whatever its model is: its mode, what its mode cannot
// do, and its host names. It returns nil where nothing does.
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

// mode is how the predictor is run: as it is run already, or as is asked for. It is empty as long as that is nothing
// that could be done.
func (s *scope) mode() v1beta1.DeploymentMode {
	if live := s.liveMode(); live != "" {
		return live
	}
	if asked := s.askedMode(); s.Backends[asked] != nil {
		return asked
	}
	return ""
}

// backend is that of the mode. What is run in no mode has nothing that any would find.
func (s *scope) backend() Backend {
	if chosen := s.Backends[s.mode()]; chosen != nil {
		return chosen
	}
	return s.Backends[v1beta1.DeploymentModeStandard]
}

func (s *scope) liveMode() v1beta1.DeploymentMode {
	return cmp.Or(normaliseMode(v1beta1.DeploymentMode(s.isvc.Status.DeploymentMode)), s.recoveredMode)
}

// recoverMode finds the mode of an InferenceService whose status does not say it: the mode in which something of it runs
// or is recorded. Where that is so in several modes, the one that is asked for is as good as any.
func (s *scope) recoverMode(ctx context.Context) error {
	if s.liveMode() != "" {
		return nil
	}
	var found []v1beta1.DeploymentMode
	for _, mode := range slices.Sorted(maps.Keys(s.Backends)) {
		session, err := s.Backends[mode].Observe(ctx, s.isvc)
		switch {
		case problemOf(err) != nil: // It is found again where it matters.
		case err != nil:
			return fmt.Errorf("looking for what runs in %s mode: %w", mode, err)
		case session.Observation().Mode == mode:
			found = append(found, mode)
		}
	}
	if len(found) == 1 {
		s.recoveredMode = found[0]
	}
	return nil
}

// askedMode is what the annotation asks for, or the configuration where there is none.
func (s *scope) askedMode() v1beta1.DeploymentMode {
	if asked := s.isvc.Annotations[v1beta1.AnnotationDeploymentMode]; asked != "" {
		return normaliseMode(v1beta1.DeploymentMode(asked))
	}
	return v1beta1.DeploymentMode(s.Config.DeploymentMode)
}

// normaliseMode is the mode under its present name.
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

// refuseMode refuses a deployment mode that is unknown, that cannot be run, or that is not the one that the predictor
// is run in already. A live one keeps its mode when the configured default changes.
func (s *scope) refuseMode() *problemError {
	asked := s.isvc.Annotations[v1beta1.AnnotationDeploymentMode]
	mode, live := s.askedMode(), s.liveMode()
	switch {
	case live != "" && asked == "":
		return nil
	case s.Backends[mode] == nil:
		return refusedSpec(v1beta1.ConditionPredictorReady, reasonDeploymentMode,
			"metadata.annotations[%s]: deployment mode %q is not supported; write %s or %s, or remove the annotation",
			v1beta1.AnnotationDeploymentMode, cmp.Or(asked, string(mode)), v1beta1.DeploymentModeStandard, v1beta1.DeploymentModeKnative)
	case live != "" && mode != live:
		return refusedSpec(v1beta1.ConditionPredictorReady, reasonDeploymentModeChanged,
			"metadata.annotations[%s]: the mode of a live InferenceService cannot change from %s to %s; write %s or remove the annotation, and for another mode create an InferenceService of another name",
			v1beta1.AnnotationDeploymentMode, live, asked, live)
	}
	return nil
}

// refuseUnsupported refuses what the mode would drop in silence.
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

// refuseHosts refuses names that make host names which DNS does not allow. How long a host name gets depends on the
// operator's templates and domain, so a schema cannot tell.
func (s *scope) refuseHosts() *problemError {
	for _, host := range hosts(s.isvc.Name, s.isvc.Namespace, s.Config.Ingress) {
		if err := config.CheckHost(host); err != nil {
			return refusedSpec(v1beta1.ConditionIngressReady, reasonHostName,
				"metadata.name: %v; give the InferenceService, or its namespace, a shorter name, or have the administrator set a shorter ingress.domain", err)
		}
	}
	return nil
}

// hosts are all host names of an InferenceService.
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

// hostsOf extracts that index.
func hostsOf(ingress config.Ingress) client.IndexerFunc {
	return func(object client.Object) []string { return hosts(object.GetName(), object.GetNamespace(), ingress) }
}

// refuseSharedHosts refuses a host name that an older InferenceService has: «iris-predictor» is also the predictor of
// «iris», the predictor of «latest-iris» is a tag of «iris», and where a template joins name and namespace by a hyphen,
// «a-b» in «c» has the host of «a» in «b-c». A gateway that was given both would send the requests for one model to the
// other.
func (s *scope) refuseSharedHosts(ctx context.Context) (*problemError, error) {
	for _, host := range hosts(s.isvc.Name, s.isvc.Namespace, s.Config.Ingress) {
		other, err := s.olderWith(ctx, host)
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

// olderWith returns an older InferenceService that has the host; nil where there is none.
func (s *scope) olderWith(ctx context.Context, host string) (*v1beta1.InferenceService, error) {
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

// unusableHosts are those that the routes must not get, or keep: invalid ones, and those of older InferenceServices. A
// refused InferenceService runs on, and after a change of the templates its next route would have them.
func (s *scope) unusableHosts(ctx context.Context, current []string) (map[string]bool, error) {
	unusable := map[string]bool{}
	for _, host := range append(hosts(s.isvc.Name, s.isvc.Namespace, s.Config.Ingress), current...) {
		other, err := s.olderWith(ctx, host)
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
