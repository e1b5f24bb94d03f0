// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// ReasonPredictorServiceMissing is the reason of a condition that stays True although the Service
// with KServe's name could not be created.
const ReasonPredictorServiceMissing = "PredictorServiceMissing"

// predictorPort is the port that KServe's clients use for a predictor's Service, beside port 80.
const predictorPort = 8080

// writePredictorService writes the Service with KServe's name for the predictor. It selects the
// revision with the largest accepted share. So it changes after the gateway has accepted the route,
// and before the revision that it has selected is drained. While there is no such revision, it is
// not changed.
//
// Only the clients that use it depend on it. A failure to create it is reported and blocks nothing.
func (w *writer) writePredictorService(ctx context.Context) error {
	current := w.observed.predictorService
	if w.Decision.State == nil || current == nil && w.predatesPredictorService() {
		return nil
	}
	n := w.Decision.Leading()
	revision, known := w.revision(n)
	if !known {
		return nil
	}
	err := w.Objects.Apply(ctx, predictorService(w.isvc, n, revision), objects.OrNil(current), objects.SharedLists)
	if current == nil && (backend.IsConflict(err) || backend.IsRefusal(err)) {
		w.addFinding(v1beta1.ConditionIngressReady, ReasonPredictorServiceMissing, "there is no Service for it of KServe's name", err)
		return nil
	}
	return err
}

func (w *writer) addFinding(condition, reason, what string, err error) {
	w.Findings = append(w.Findings, backend.Finding{
		Condition: condition, Reason: reason, Message: what + ": " + backend.StableMessage(err.Error()),
	})
}

// predatesPredictorService reports whether the first version of the operator wrote the rollout
// state and nothing has changed since. That version did not create the Service, and an upgrade must
// not write. The Service is created with the next change.
func (w *writer) predatesPredictorService() bool {
	return w.Decision.State.Version < 2
}

// predictorService returns a Service for the pods of one revision: a Service has no weights.
func predictorService(isvc *v1beta1.InferenceService, n rollout.Number, revision backend.RenderedRevision) *corev1.Service {
	ports := service(isvc, n, revision).Spec.Ports
	if !slices.ContainsFunc(ports, func(p corev1.ServicePort) bool { return p.Port == predictorPort }) {
		port := ports[0]
		port.Name, port.Port, port.TargetPort = servicePortName+"-kserve", predictorPort, intstr.FromInt32(revision.Runs.Port)
		ports = append(ports, port)
	}
	return &corev1.Service{
		ObjectMeta: objects.Meta(isvc, backend.PredictorName(isvc.Name), 0),
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Selector: selector(isvc, n), Ports: ports},
	}
}
