// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"fmt"
	"strings"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
)

// reasonNotInstalled says, in the conditions, that the cluster has no Knative Serving.
const reasonNotInstalled = "KnativeNotInstalled"

// routeDetail says how far Knative is, for people. A first deployment whose revision does not get ready is not its
// route's fault.
func (b *Backend) routeDetail(found *children) backend.Route {
	if !b.Installed() {
		return backend.Route{
			Refused: true,
			Reason:  reasonNotInstalled,
			Message: "the cluster does not have Knative Serving (Service of serving.knative.dev/v1); install it, see https://knative.dev/docs/install/, " +
				"or have predictors run without it with the annotation serving.kserve.io/deploymentMode: Standard on a new InferenceService",
		}
	}
	service := found.service
	if service == nil {
		return backend.Route{}
	}
	detail := backend.Route{Exists: true}
	ready := service.Status.GetCondition(servingv1.ServiceConditionRoutesReady)
	if service.Annotations[objects.AnnotationRecord] == "" || service.Status.ObservedGeneration != service.Generation || !ready.IsFalse() {
		return detail
	}
	detail.Refused, detail.Reason = true, ready.Reason
	detail.Message = fmt.Sprintf("Knative does not serve the split: %s; see what it says with: kubectl describe services.serving.knative.dev -n %s %s",
		strings.TrimSuffix(backend.StableMessage(ready.Message), "."), service.Namespace, service.Name)
	return detail
}

// explained adds to a refusal of Knative's webhook what mends it, where that is a setting of Knative's.
func explained(err error) error {
	if err == nil || !strings.Contains(err.Error(), "must not set the field(s)") {
		return err
	}
	if strings.Contains(err.Error(), "initContainers") {
		return fmt.Errorf("%w; the model is downloaded by an init container, which Knative does not allow here; allow it with: %s", err, enable("kubernetes.podspec-init-containers"))
	}
	return fmt.Errorf("%w; Knative allows many fields of pods only with a feature of its own, see https://knative.dev/docs/serving/configuration/feature-flags/", err)
}

// enable is the command that enables a feature of Knative's.
func enable(feature string) string {
	return fmt.Sprintf(`kubectl patch configmap -n knative-serving config-features --type merge -p '{"data":{%q:"enabled"}}'`, feature)
}
