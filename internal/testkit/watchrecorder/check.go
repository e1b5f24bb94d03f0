// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package watchrecorder

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/pods"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// Check returns all violations of the rules, each with the change that caused it.
func (r *Recorder) Check() error {
	var violations []error
	models := map[string]*model{}
	entries := r.Entries()
	for _, entry := range entries {
		name := entry.Object.GetLabels()[v1beta1.LabelInferenceService]
		if isvc, ok := entry.Object.(*v1beta1.InferenceService); ok {
			name = isvc.Name
		}
		if name == "" || isForeign(entry.Object) {
			continue
		}
		if models[name] == nil {
			models[name] = newModel(name, r.isExcused)
			models[name].knative = slices.ContainsFunc(entries, func(e Entry) bool { return isKnative(e.Object) && IsRoute(name, e.Object) })
		}
		caused := models[name].apply(entry)
		if r.isExcusedWrite(entry.Version) {
			continue
		}
		for _, violation := range caused {
			violations = append(violations, fmt.Errorf("%s: %s\n%w", name, formatEntry(r.started, entry), violation))
		}
	}
	return errors.Join(violations...)
}

func isForeign(object client.Object) bool {
	switch object.(type) {
	case *appsv1.Deployment, *corev1.Service, *gatewayv1.HTTPRoute, *servingv1.Service:
		owner := metav1.GetControllerOf(object)
		return owner != nil && owner.Kind != "InferenceService"
	}
	return false
}

// Splits returns the splits of an InferenceService's route in order, such as "2:10 1:90".
func (r *Recorder) Splits(isvc string) []string {
	var splits []string
	for _, entry := range r.Entries() {
		if !IsRoute(isvc, entry.Object) || entry.Deleted {
			continue
		}
		split, err := SplitOf(isvc, entry.Object)
		text := split.String()
		switch {
		case err != nil:
			text = err.Error()
		case split.IsEmpty() && len(splits) == 0 && isKnative(entry.Object):
			continue // Knative has not served a revision yet.
		}
		if len(splits) == 0 || splits[len(splits)-1] != text {
			splits = append(splits, text)
		}
	}
	return splits
}

func isKnative(route client.Object) bool {
	_, is := route.(*servingv1.Service)
	return is
}

// Given returns the splits of all writes of an InferenceService's route in order, except excused
// writes.
func (r *Recorder) Given(isvc string) []string {
	var splits []string
	generation := int64(0)
	for _, entry := range r.Entries() {
		route := entry.Object
		if !IsRoute(isvc, route) || entry.Deleted || route.GetGeneration() == generation {
			continue
		}
		generation = route.GetGeneration()
		if r.isExcusedWrite(entry.Version) {
			continue
		}
		split, err := SplitOf(isvc, route)
		if err != nil {
			splits = append(splits, err.Error())
			continue
		}
		splits = append(splits, split.String())
	}
	return splits
}

func revisionNumber(isvc, name string) rollout.Number {
	var number rollout.Number
	if _, err := fmt.Sscanf(name, isvc+"-predictor-%05d", &number); err != nil || fmt.Sprintf("%s-predictor-%05d", isvc, number) != name {
		return 0
	}
	return number
}

type model struct {
	isvc           string
	knative        bool          // Whether a Knative Service splits the traffic.
	split          rollout.Split // The last written split of the main route.
	routes         map[string]client.Object
	ready          map[rollout.Number]int
	pods           map[rollout.Number]map[string]bool // The ready pods of Knative's revisions.
	replicas       map[rollout.Number]int
	backends       map[rollout.Number]bool // The Services or Knative Revisions that exist.
	scalesFromZero map[rollout.Number]bool // Revisions that scale up on a request.
	served         map[string]bool         // Splits that the gateway has ever accepted.
	deleted        bool
	excused        func(client.Object) bool
}

func newModel(isvc string, excused func(client.Object) bool) *model {
	return &model{
		isvc:           isvc,
		routes:         map[string]client.Object{},
		ready:          map[rollout.Number]int{},
		pods:           map[rollout.Number]map[string]bool{},
		replicas:       map[rollout.Number]int{},
		backends:       map[rollout.Number]bool{},
		scalesFromZero: map[rollout.Number]bool{},
		served:         map[string]bool{rollout.Split{}.String(): true},
		excused:        excused,
	}
}

func (m *model) apply(entry Entry) []error {
	switch object := entry.Object.(type) {
	case *servingv1.Service:
		return m.applyRoute(object, entry.Deleted)
	case *v1beta1.InferenceService:
		m.deleted = entry.Deleted
		return m.applyStatus(object)
	}
	if m.knative {
		return m.applyKnative(entry)
	}
	switch object := entry.Object.(type) {
	case *discoveryv1.EndpointSlice:
		m.ready[revisionNumber(m.isvc, object.Labels[discoveryv1.LabelServiceName])] = readyEndpoints(object, entry.Deleted)
	case *corev1.Service:
		return m.applyBackend(revisionNumber(m.isvc, object.Name), object, entry.Deleted)
	case *appsv1.Deployment:
		return m.applyDeployment(object, entry.Deleted)
	case *gatewayv1.HTTPRoute:
		return m.applyRoute(object, entry.Deleted)
	}
	return nil
}

// applyKnative applies a change in Knative mode. Knative's Services, Deployments and HTTPRoutes are
// not subject to the rules.
func (m *model) applyKnative(entry Entry) []error {
	switch object := entry.Object.(type) {
	case *servingv1.Revision:
		number := revisionNumber(m.isvc, object.Name)
		m.scalesFromZero[number] = object.IsReady() && minScale(object) == "0"
		return m.applyBackend(number, object, entry.Deleted)
	case *corev1.Pod:
		number := revisionOfPod(m.isvc, object.Labels)
		if m.pods[number] == nil {
			m.pods[number] = map[string]bool{}
		}
		delete(m.pods[number], object.Name)
		if !entry.Deleted && object.DeletionTimestamp == nil && pods.IsReady(object) {
			m.pods[number][object.Name] = true
		}
		m.ready[number] = len(m.pods[number])
	}
	return nil
}

func minScale(revision *servingv1.Revision) string {
	_, value, _ := autoscaling.MinScaleAnnotation.Get(revision.Annotations)
	return value
}

func (m *model) applyBackend(number rollout.Number, object client.Object, deleted bool) []error {
	gone := m.backends[number] && deleted
	m.backends[number] = !deleted
	if gone && !m.excused(object) {
		return m.checkUnrouted(number, fmt.Sprintf("its %T is deleted", object))
	}
	return nil
}

func readyEndpoints(slice *discoveryv1.EndpointSlice, deleted bool) int {
	ready := 0
	for _, endpoint := range slice.Endpoints {
		if !deleted && endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready {
			ready++
		}
	}
	return ready
}

func (m *model) applyDeployment(deployment *appsv1.Deployment, deleted bool) []error {
	number := revisionNumber(m.isvc, strings.TrimSuffix(deployment.Name, "-deployment"))
	before, now := m.replicas[number], 1
	if deployment.Spec.Replicas != nil {
		now = int(*deployment.Spec.Replicas)
	}
	if deleted {
		now = 0
	}
	m.replicas[number] = now
	if before > 0 && now == 0 && !m.excused(deployment) && !m.isReplaced(number) {
		return m.checkUnrouted(number, "it is scaled to zero")
	}
	return nil
}

// isReplaced reports whether the rollout state allows the revision to be down, so that another can
// use its node (row 22).
func (m *model) isReplaced(number rollout.Number) bool {
	route := m.routes[m.mainRoute()]
	if route == nil {
		return false
	}
	state, err := StateOf(route)
	if err != nil {
		return false // Reported when the route was written.
	}
	switch state.Replacement {
	case rollout.Replacing:
		return number == state.Stable
	case rollout.ReplacementFailed:
		return number == state.Target
	}
	return false
}

// checkUnrouted checks rule 4: a revision is deleted or scaled down only if no route can point at
// it.
func (m *model) checkUnrouted(number rollout.Number, what string) []error {
	if m.deleted {
		return nil // The garbage collector deletes everything.
	}
	var violations []error
	for name, route := range m.routes {
		if service, is := route.(*servingv1.Service); is {
			if namedRevisions(m.isvc, service)[number] {
				violations = append(violations, fmt.Errorf("rule 4: revision %d: %s while Knative Service %s names it", number, what, name))
			}
			continue
		}
		split, err := SplitOf(m.isvc, route)
		switch {
		case err != nil:
			violations = append(violations, err)
		case split.Has(number):
			violations = append(violations, fmt.Errorf("rule 4: revision %d: %s while HTTPRoute %s (%s) names it", number, what, name, split))
		case !testkit.IsAccepted(route):
			violations = append(violations, fmt.Errorf("rule 4: revision %d: %s before the gateway has accepted HTTPRoute %s", number, what, name))
		}
	}
	return violations
}

func (m *model) mainRoute() string {
	if m.knative {
		return m.isvc + "-predictor"
	}
	return m.isvc
}

func (m *model) applyRoute(route client.Object, deleted bool) []error {
	name := route.GetName()
	before := m.routes[name]
	m.routes[name] = route
	if deleted {
		delete(m.routes, name)
		return nil
	}
	split, err := SplitOf(m.isvc, route)
	if err == nil && testkit.IsAccepted(route) && name == m.mainRoute() {
		m.served[split.String()] = true
	}
	if adopted, found := servedBeforeAdoption(m.isvc, route); found {
		m.served[adopted.String()] = true
	}
	if before != nil && before.GetGeneration() == route.GetGeneration() &&
		before.GetAnnotations()[annotationRolloutState] == route.GetAnnotations()[annotationRolloutState] {
		return nil // Only the status changed.
	}
	if err != nil {
		return []error{fmt.Errorf("rule 1: %w", err)}
	}
	var violations []error
	if hasTraffic(route) {
		violations = m.checkBackendsExist(name, split, before)
	}
	if name != m.mainRoute() {
		return violations
	}
	violations = append(violations, m.checkRolloutState(route, split)...)
	if !recordsServedTraffic(before, route) {
		violations = append(violations, m.checkReady(split)...)
	}
	m.split = split
	return violations
}

// servedBeforeAdoption returns the split of a Knative Service without a rollout state: what Knative serves for KServe, which
// names the latest revision by no name.
func servedBeforeAdoption(isvc string, route client.Object) (rollout.Split, bool) {
	service, is := route.(*servingv1.Service)
	if _, err := StateOf(route); !is || err == nil {
		return rollout.Split{}, false
	}
	split, err := addTraffic(map[rollout.Number]int{}, isvc, service.Name, service.Status.Traffic)
	return split, err == nil
}

// hasTraffic reports whether a route can send requests to a revision. A new Knative Service cannot
// until Knative has created the revisions that it names.
func hasTraffic(route client.Object) bool {
	service, is := route.(*servingv1.Service)
	return !is || len(service.Status.Traffic) > 0
}

// recordsServedTraffic reports whether a write only adds the rollout state for traffic that Knative
// already serves. Knative decides when it serves the first revision of a new Knative Service.
func recordsServedTraffic(before, route client.Object) bool {
	last, was := before.(*servingv1.Service)
	service, is := route.(*servingv1.Service)
	return was && is && hasTraffic(last) && equality.Semantic.DeepEqual(last.Spec.Traffic, service.Spec.Traffic)
}

// checkBackendsExist checks rule 4: the revisions that a route names exist. A Knative Service need
// not name revisions with 0 %.
func (m *model) checkBackendsExist(name string, split rollout.Split, before client.Object) []error {
	var last rollout.Split
	if before != nil {
		last, _ = SplitOf(m.isvc, before) // Reported when it was written.
	}
	var violations []error
	for _, share := range split.Shares() {
		isNamed := share.Percent > 0 || !m.knative
		if isNamed && !last.Has(share.Revision) && !m.backends[share.Revision] {
			violations = append(violations, fmt.Errorf("rule 4: route %s names revision %d, which has no Service or Knative Revision", name, share.Revision))
		}
	}
	return violations
}

// checkRolloutState checks rule 7: the rollout state and the weights are written together.
func (m *model) checkRolloutState(route client.Object, split rollout.Split) []error {
	state, err := StateOf(route)
	if err != nil && m.knative && split.IsEmpty() {
		return nil // The Knative Service precedes the first split.
	}
	if err != nil {
		return []error{fmt.Errorf("rule 7: %w", err)}
	}
	if !state.Split.Equal(split) {
		return []error{fmt.Errorf("rule 7: the rollout state has the split %s, but the route has %s", state.Split, split)}
	}
	return nil
}

// checkReady checks rule 2: a revision that gets a first share can serve, unless no revision with a
// share can.
func (m *model) checkReady(split rollout.Split) []error {
	serving := m.split.IsEmpty()
	for _, share := range m.split.Shares() {
		serving = serving || share.Percent > 0 && m.canServe(share.Revision)
	}
	var violations []error
	for _, share := range split.Shares() {
		if share.Percent > 0 && m.split.Percent(share.Revision) == 0 && !m.canServe(share.Revision) && serving {
			violations = append(violations, fmt.Errorf("rule 2: revision %d gets %d %% and has no ready endpoint", share.Revision, share.Percent))
		}
	}
	return violations
}

func (m *model) canServe(number rollout.Number) bool {
	return m.ready[number] > 0 || m.scalesFromZero[number]
}

func (m *model) applyStatus(isvc *v1beta1.InferenceService) []error {
	var violations []error
	status := isvc.Status
	if status.ObservedGeneration > isvc.Generation {
		violations = append(violations, fmt.Errorf("rule 9: the status has observed generation %d, but the latest is %d", status.ObservedGeneration, isvc.Generation))
	}
	for _, condition := range status.Conditions {
		if condition.ObservedGeneration != status.ObservedGeneration {
			violations = append(violations, fmt.Errorf("rule 9: condition %s has observed generation %d, but the status has %d",
				condition.Type, condition.ObservedGeneration, status.ObservedGeneration))
		}
	}
	var shares []rollout.Share
	for _, target := range status.Components[v1beta1.PredictorComponent].Traffic {
		shares = append(shares, rollout.Share{Revision: revisionNumber(isvc.Name, target.RevisionName), Percent: int(*target.Percent)})
	}
	split, err := rollout.NewSplit(shares...)
	switch {
	case err != nil:
		violations = append(violations, fmt.Errorf("rule 1: the status reports an invalid split: %w", err))
	case !m.served[split.String()]:
		violations = append(violations, fmt.Errorf("rule 4: the status reports %s, which the gateway has never served", split))
	case apimeta.IsStatusConditionTrue(status.Conditions, v1beta1.ConditionReady) && status.ObservedGeneration == isvc.Generation:
		violations = append(violations, m.checkReadyCondition(isvc, split)...)
	}
	return violations
}

// checkReadyCondition checks rule 9: Ready is never True for a spec that has not been acted on.
func (m *model) checkReadyCondition(isvc *v1beta1.InferenceService, reported rollout.Split) []error {
	route := m.routes[m.mainRoute()]
	if route == nil {
		return []error{errors.New("rule 9: Ready is True, but there is no route")}
	}
	if !reported.Equal(m.split) {
		return []error{fmt.Errorf("rule 9: Ready is True and the status reports %s, but the route has %s", reported, m.split)}
	}
	state, err := StateOf(route)
	if err != nil {
		return nil // Reported when the route was written.
	}
	var percent *int
	if spec := isvc.Spec.Predictor.CanaryTrafficPercent; spec != nil {
		percent = new(int(*spec))
	}
	if rollout.PercentIntent(percent, nil) != state.Asked {
		return []error{fmt.Errorf("rule 9: Ready is True, but the percent in the rollout state is not that of generation %d", isvc.Generation)}
	}
	return nil
}
