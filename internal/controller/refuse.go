// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/standard"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/status"
)

// refuse finds what keeps the InferenceService from being run whatever its model is: its mode, what its mode cannot
// do, and its host names. It returns nil where nothing does.
func (p *pass) refuse(ctx context.Context) (*problemError, error) {
	for _, check := range []func() *problemError{p.refuseMode, p.refuseUnsupported, p.refuseHosts} {
		if refused := check(); refused != nil {
			return refused, nil
		}
	}
	return p.refuseSharedHosts(ctx)
}

func refusedSpec(condition, reason, message string, args ...any) *problemError {
	return &problemError{status.Problem{
		Condition: condition,
		Reason:    reason,
		Message:   fmt.Sprintf(message, args...),
		Failure:   v1beta1.InvalidPredictorSpec,
	}}
}

// mode is how the predictor is run, for the status: empty as long as it never was.
func (p *pass) mode() v1beta1.DeploymentMode {
	if live := p.liveMode(); live != "" {
		return live
	}
	if p.askedMode() == v1beta1.DeploymentModeStandard {
		return v1beta1.DeploymentModeStandard
	}
	return ""
}

func (p *pass) liveMode() v1beta1.DeploymentMode {
	return normaliseMode(v1beta1.DeploymentMode(p.isvc.Status.DeploymentMode))
}

// askedMode is what the annotation asks for, or the configuration where there is none.
func (p *pass) askedMode() v1beta1.DeploymentMode {
	if asked := p.isvc.Annotations[v1beta1.AnnotationDeploymentMode]; asked != "" {
		return normaliseMode(v1beta1.DeploymentMode(asked))
	}
	return v1beta1.DeploymentMode(p.Config.DeploymentMode)
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
func (p *pass) refuseMode() *problemError {
	asked := p.isvc.Annotations[v1beta1.AnnotationDeploymentMode]
	mode, live := p.askedMode(), p.liveMode()
	switch {
	case live != "" && asked == "":
		return nil
	case live != "" && mode != live:
		return refusedSpec(v1beta1.ConditionPredictorReady, reasonDeploymentModeChanged,
			"metadata.annotations[%s]: the mode of a live InferenceService cannot change from %s to %s; set it back to %s, or delete the InferenceService and create it anew",
			v1beta1.AnnotationDeploymentMode, live, asked, live)
	case mode != v1beta1.DeploymentModeStandard:
		return refusedSpec(v1beta1.ConditionPredictorReady, reasonDeploymentMode,
			"metadata.annotations[%s]: deployment mode %q is not supported; write %s, or leave the annotation out",
			v1beta1.AnnotationDeploymentMode, mode, v1beta1.DeploymentModeStandard)
	}
	return nil
}

// refuseUnsupported refuses what the mode would drop in silence.
func (p *pass) refuseUnsupported() *problemError {
	if field, message := standard.Unsupported(p.isvc); field != "" {
		return refusedSpec(v1beta1.ConditionPredictorReady, string(v1beta1.InvalidPredictorSpec), "%s: %s", field, message)
	}
	if p.isvc.Labels[v1beta1.LabelNetworkVisibility] == v1beta1.VisibilityClusterLocal && p.Config.Ingress.LocalGateway == nil {
		return refusedSpec(v1beta1.ConditionPredictorReady, reasonLocalGatewayNotDefined,
			"metadata.labels[%s]: %s needs a local gateway; remove the label, or have the administrator set ingress.localGateway in the operator's configuration",
			v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal)
	}
	return nil
}

// refuseHosts refuses names that make host names which DNS does not allow. How long a host name gets depends on the
// operator's templates and domain, so a schema cannot tell.
func (p *pass) refuseHosts() *problemError {
	for _, host := range hosts(p.isvc.Name, p.isvc.Namespace, p.Config.Ingress) {
		if err := config.CheckHost(host); err != nil {
			return refusedSpec(v1beta1.ConditionIngressReady, reasonHostName,
				"metadata.name: %v; give the InferenceService, or its namespace, a shorter name", err)
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

// refuseSharedHosts refuses a host name that an older InferenceService of the namespace has: «iris-predictor» is also
// the predictor of «iris», and the predictor of «latest-iris» is a tag of «iris». A gateway that was given both would
// send the requests for one model to the other.
func (p *pass) refuseSharedHosts(ctx context.Context) (*problemError, error) {
	mine := hosts(p.isvc.Name, p.isvc.Namespace, p.Config.Ingress)
	for _, name := range namesakes(p.isvc.Name) {
		var other v1beta1.InferenceService
		err := p.Client.Get(ctx, client.ObjectKey{Namespace: p.isvc.Namespace, Name: name}, &other)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for InferenceService %q: %w", name, err)
		}
		if shared := firstShared(mine, hosts(name, p.isvc.Namespace, p.Config.Ingress)); shared != "" && older(&other, p.isvc) {
			return refusedSpec(v1beta1.ConditionIngressReady, reasonHostTaken,
				"metadata.name: the host %q belongs to InferenceService %q; give this one another name", shared, name), nil
		}
	}
	return nil, nil
}

// namesakes are the names whose hosts can be those of this name, where the templates are the usual ones.
func namesakes(name string) []string {
	var names []string
	suffix := backend.PredictorName("")
	if base, found := strings.CutSuffix(name, suffix); found && base != "" {
		names = append(names, base)
	}
	names = append(names, name+suffix)
	for _, tag := range []string{v1beta1.TagLatest, v1beta1.TagPrevious} {
		if base, found := strings.CutPrefix(name, tag+"-"); found && base != "" {
			names = append(names, base, strings.TrimSuffix(base, suffix))
		}
		names = append(names, tag+"-"+name, tag+"-"+name+suffix)
	}
	return names
}

func firstShared(a, b []string) string {
	for _, host := range a {
		if slices.Contains(b, host) {
			return host
		}
	}
	return ""
}

func older(a, b *v1beta1.InferenceService) bool {
	if a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.Name < b.Name
	}
	return a.CreationTimestamp.Before(&b.CreationTimestamp)
}
