// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/status"
)

// resolve finds what the spec asks for. A spec that asks for nothing that could be run becomes a problem, and wanted
// has no inputs then: what runs, runs on, and no traffic moves.
func (p *pass) resolve(ctx context.Context) error {
	if p.problem = modeProblem(p.isvc, p.Config); p.problem != nil {
		return nil
	}
	if p.problem = hostProblem(p.isvc, p.Config.Ingress); p.problem != nil {
		return nil
	}
	runtimes, err := p.runtimes(ctx)
	if err != nil {
		return err
	}
	p.wanted, err = predictor.Resolve(p.isvc, runtimes, settings(p.Config))
	return p.note(err)
}

// modeProblem refuses a deployment mode that is unknown, that cannot be run, or that is not the one that the predictor
// is run in already.
func modeProblem(isvc *v1beta1.InferenceService, cfg *config.Config) *status.Problem {
	refuse := func(reason, message string, args ...any) *status.Problem {
		return &status.Problem{
			Condition: v1beta1.ConditionPredictorReady,
			Reason:    reason,
			Message:   fmt.Sprintf(message, args...),
			Failure:   v1beta1.InvalidPredictorSpec,
		}
	}
	asked := v1beta1.DeploymentMode(isvc.Annotations[v1beta1.AnnotationDeploymentMode])
	mode := normaliseMode(asked, cfg)
	if live := v1beta1.DeploymentMode(isvc.Status.DeploymentMode); live != "" && mode != live && asked != "" {
		return refuse(reasonDeploymentModeChanged,
			"metadata.annotations[%s]: the mode of a live InferenceService cannot change from %s to %s; set it back to %s, or delete the InferenceService and create it anew",
			v1beta1.AnnotationDeploymentMode, live, asked, live)
	}
	if mode != v1beta1.DeploymentModeStandard {
		return refuse(reasonDeploymentMode,
			"metadata.annotations[%s]: deployment mode %q is not supported; write %s, or leave the annotation out",
			v1beta1.AnnotationDeploymentMode, mode, v1beta1.DeploymentModeStandard)
	}
	if isvc.Labels[v1beta1.LabelNetworkVisibility] == v1beta1.VisibilityClusterLocal && cfg.Ingress.LocalGateway == nil {
		return refuse(reasonLocalGatewayNotDefined,
			"metadata.labels[%s]: %s needs a local gateway; remove the label, or have the administrator set ingress.localGateway in the operator's configuration",
			v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal)
	}
	return nil
}

// hostProblem refuses names that make host names which DNS does not allow. How long a host name gets depends on the
// operator's templates and domain, so a schema cannot tell.
func hostProblem(isvc *v1beta1.InferenceService, ingress config.Ingress) *status.Problem {
	predictorName := backend.PredictorName(isvc.Name)
	for _, host := range []string{
		ingress.Host(predictorName, isvc.Namespace),
		ingress.TagHost(v1beta1.TagLatest, predictorName, isvc.Namespace),
	} {
		if err := config.CheckHost(host); err != nil {
			return &status.Problem{
				Condition: v1beta1.ConditionIngressReady,
				Reason:    reasonHostName,
				Message:   fmt.Sprintf("metadata.name: %v; give the InferenceService, or its namespace, a shorter name", err),
				Failure:   v1beta1.InvalidPredictorSpec,
			}
		}
	}
	return nil
}

// normaliseMode is the mode under its present name, or the configured one where none is asked for.
func normaliseMode(asked v1beta1.DeploymentMode, cfg *config.Config) v1beta1.DeploymentMode {
	switch asked {
	case "":
		return v1beta1.DeploymentMode(cfg.DeploymentMode)
	case v1beta1.DeploymentModeRawDeployment:
		return v1beta1.DeploymentModeStandard
	case v1beta1.DeploymentModeServerless:
		return v1beta1.DeploymentModeKnative
	default:
		return asked
	}
}

// runtimes reads the serving runtimes that the InferenceService could use, from the cache. They are shared: nobody
// may change them.
func (p *pass) runtimes(ctx context.Context) (predictor.Runtimes, error) {
	var namespaced v1alpha1.ServingRuntimeList
	var cluster v1alpha1.ClusterServingRuntimeList
	if err := p.Client.List(ctx, &namespaced, client.InNamespace(p.isvc.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return predictor.Runtimes{}, fmt.Errorf("listing ServingRuntimes: %w", err)
	}
	if err := p.Client.List(ctx, &cluster, client.UnsafeDisableDeepCopy); err != nil {
		return predictor.Runtimes{}, fmt.Errorf("listing ClusterServingRuntimes: %w", err)
	}
	var found predictor.Runtimes
	for i := range namespaced.Items {
		found.Namespaced = append(found.Namespaced, &namespaced.Items[i])
	}
	for i := range cluster.Items {
		found.Cluster = append(found.Cluster, &cluster.Items[i])
	}
	return found, nil
}

// render builds the target, once, when it is new.
func (p *pass) render(ctx context.Context) (backend.NewRevision, error) {
	credentials, err := p.credentials(ctx, p.wanted.NeedsCredentials())
	if err != nil {
		return backend.NewRevision{}, err
	}
	runs, err := p.wanted.Render(credentials)
	if err != nil {
		return backend.NewRevision{}, err
	}
	return backend.NewRevision{Inputs: p.wanted.Inputs, Runs: runs}, nil
}

// settings are the operator's, as far as they shape pods.
func settings(cfg *config.Config) predictor.Settings {
	s3 := cfg.Credentials.S3
	return predictor.Settings{
		StorageInitializer: predictor.StorageInitializer{
			Image:     cfg.StorageInitializer.Image,
			Resources: cfg.StorageInitializer.Resources.Requirements(),
			UID:       cfg.StorageInitializer.RunAsUser,
		},
		Resources:           cfg.Predictor.Resources.Requirements(),
		ExcludedLabels:      cfg.Propagation.ExcludedLabels,
		ExcludedAnnotations: cfg.Propagation.ExcludedAnnotations,
		Credentials: predictor.CredentialSettings{
			StorageSpecSecretName:       cfg.Credentials.StorageSpecSecretName,
			StorageSecretNameAnnotation: cfg.Credentials.StorageSecretNameAnnotation,
			GCS:                         predictor.GCSSettings{CredentialFileName: cfg.Credentials.GCS.GCSCredentialFileName},
			S3: predictor.S3Settings{
				AccessKeyIDName:        s3.S3AccessKeyIDName,
				SecretAccessKeyName:    s3.S3SecretAccessKeyName,
				Endpoint:               s3.S3Endpoint,
				UseHTTPS:               s3.S3UseHTTPS,
				Region:                 s3.S3Region,
				VerifySSL:              s3.S3VerifySSL,
				UseVirtualBucket:       s3.S3UseVirtualBucket,
				UseAccelerate:          s3.S3UseAccelerate,
				UseAnonymousCredential: s3.S3UseAnonymousCredential,
				CABundleConfigMap:      s3.S3CABundleConfigMap,
				CABundle:               s3.S3CABundle,
			},
		},
	}
}
