// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package journal

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
)

// Check holds all that has happened against the rules, and names each breach with the moment at which it came about.
func (j *Journal) Check() error {
	var breaches []error
	worlds := map[string]*world{}
	entries := j.Entries()
	for _, entry := range entries {
		name := entry.Object.GetLabels()[v1beta1.LabelInferenceService]
		if isvc, ok := entry.Object.(*v1beta1.InferenceService); ok {
			name = isvc.Name
		}
		if name == "" || isForeign(entry.Object) {
			continue
		}
		if worlds[name] == nil {
			worlds[name] = newWorld(name, j.isExcused)
			worlds[name].knative = slices.ContainsFunc(entries, func(e Entry) bool { return isKnative(e.Object) && IsRoute(name, e.Object) })
		}
		found := worlds[name].take(entry)
		if j.isExcusedWrite(entry.Version) {
			continue
		}
		for _, breach := range found {
			breaches = append(breaches, fmt.Errorf("%s: %s\n%w", name, line(j.began, entry), breach))
		}
	}
	return errors.Join(breaches...)
}

// isForeign tells whether an object, whatever its name and its labels, is somebody else's.
func isForeign(object client.Object) bool {
	switch object.(type) {
	case *appsv1.Deployment, *corev1.Service, *gatewayv1.HTTPRoute, *servingv1.Service:
		owner := metav1.GetControllerOf(object)
		return owner != nil && owner.Kind != "InferenceService"
	}
	return false
}

// Splits lists the splits that the route of an InferenceService has had, in order: «2:10 1:90».
func (j *Journal) Splits(isvc string) []string {
	var splits []string
	for _, entry := range j.Entries() {
		if !IsRoute(isvc, entry.Object) || entry.Deleted {
			continue
		}
		split, err := SplitOf(isvc, entry.Object)
		said := split.String()
		switch {
		case err != nil:
			said = err.Error()
		case split.IsEmpty() && len(splits) == 0 && isKnative(entry.Object):
			continue // It is only being made.
		}
		if len(splits) == 0 || splits[len(splits)-1] != said {
			splits = append(splits, said)
		}
	}
	return splits
}

func isKnative(route client.Object) bool {
	_, is := route.(*servingv1.Service)
	return is
}

// Given lists the splits that the route of an InferenceService was given, in order, but for those of excused writes.
func (j *Journal) Given(isvc string) []string {
	var splits []string
	generation := int64(0)
	for _, entry := range j.Entries() {
		route := entry.Object
		if !IsRoute(isvc, route) || entry.Deleted || route.GetGeneration() == generation {
			continue
		}
		generation = route.GetGeneration()
		if j.isExcusedWrite(entry.Version) {
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

// world is what there is of one InferenceService at one moment.
type world struct {
	isvc     string
	knative  bool          // Whether the traffic is split by a Knative Service.
	split    rollout.Split // Of the main route, as it was last written.
	routes   map[string]client.Object
	ready    map[rollout.Number]int
	pods     map[rollout.Number]map[string]bool // Of Knative's revisions, the ready ones.
	replicas map[rollout.Number]int
	there    map[rollout.Number]bool // What a route can name: Services, or Knative's Revisions.
	fromZero map[rollout.Number]bool // Revisions that come up with a request.
	served   map[string]bool         // Splits that the gateway has taken over at some time.
	deleted  bool
	excused  func(client.Object) bool
}

func newWorld(isvc string, excused func(client.Object) bool) *world {
	return &world{
		isvc:     isvc,
		routes:   map[string]client.Object{},
		ready:    map[rollout.Number]int{},
		pods:     map[rollout.Number]map[string]bool{},
		replicas: map[rollout.Number]int{},
		there:    map[rollout.Number]bool{},
		fromZero: map[rollout.Number]bool{},
		served:   map[string]bool{rollout.Split{}.String(): true},
		excused:  excused,
	}
}

// take goes on to the next moment, and returns the rules that are broken then.
func (w *world) take(entry Entry) []error {
	switch object := entry.Object.(type) {
	case *servingv1.Service:
		return w.takeRoute(object, entry.Deleted)
	case *v1beta1.InferenceService:
		w.deleted = entry.Deleted
		return w.takeStatus(object)
	}
	if w.knative {
		return w.takeFromKnative(entry)
	}
	switch object := entry.Object.(type) {
	case *discoveryv1.EndpointSlice:
		w.ready[revisionNumber(w.isvc, object.Labels[discoveryv1.LabelServiceName])] = readyEndpoints(object, entry.Deleted)
	case *corev1.Service:
		return w.takeBackend(revisionNumber(w.isvc, object.Name), object, entry.Deleted)
	case *appsv1.Deployment:
		return w.takeDeployment(object, entry.Deleted)
	case *gatewayv1.HTTPRoute:
		return w.takeRoute(object, entry.Deleted)
	}
	return nil
}

// takeFromKnative takes what happens to Knative's own objects. What it makes of Services, of Deployments and of routes is
// its own affair.
func (w *world) takeFromKnative(entry Entry) []error {
	switch object := entry.Object.(type) {
	case *servingv1.Revision:
		number := revisionNumber(w.isvc, object.Name)
		w.fromZero[number] = object.IsReady() && leastReplicas(object) == "0"
		return w.takeBackend(number, object, entry.Deleted)
	case *corev1.Pod:
		number := revisionOfPod(w.isvc, object.Labels)
		if w.pods[number] == nil {
			w.pods[number] = map[string]bool{}
		}
		delete(w.pods[number], object.Name)
		if !entry.Deleted && object.DeletionTimestamp == nil && pods.IsReady(object) {
			w.pods[number][object.Name] = true
		}
		w.ready[number] = len(w.pods[number])
	}
	return nil
}

func leastReplicas(revision *servingv1.Revision) string {
	_, least, _ := autoscaling.MinScaleAnnotation.Get(revision.Annotations)
	return least
}

// takeBackend takes what becomes of what a route can name.
func (w *world) takeBackend(number rollout.Number, object client.Object, deleted bool) []error {
	gone := w.there[number] && deleted
	w.there[number] = !deleted
	if gone && !w.excused(object) {
		return w.checkUnrouted(number, fmt.Sprintf("its %T is deleted", object))
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

func (w *world) takeDeployment(deployment *appsv1.Deployment, deleted bool) []error {
	number := revisionNumber(w.isvc, strings.TrimSuffix(deployment.Name, "-deployment"))
	before, now := w.replicas[number], 1
	if deployment.Spec.Replicas != nil {
		now = int(*deployment.Spec.Replicas)
	}
	if deleted {
		now = 0
	}
	w.replicas[number] = now
	if before > 0 && now == 0 && !w.excused(deployment) && !w.makesRoom(number) {
		return w.checkUnrouted(number, "it is scaled to nothing")
	}
	return nil
}

// makesRoom reports whether a revision is down so that another can have its node, which the record says before (row 22).
func (w *world) makesRoom(number rollout.Number) bool {
	route := w.routes[w.main()]
	if route == nil {
		return false
	}
	record, err := RecordOf(route)
	if err != nil {
		return false // Said when the route was written.
	}
	switch record.Replacement {
	case rollout.Replacing:
		return number == record.Stable
	case rollout.ReplacementFailed:
		return number == record.Target
	}
	return false
}

// checkUnrouted is rule 4: nothing is deleted or scaled while a route can still point at it.
func (w *world) checkUnrouted(number rollout.Number, what string) []error {
	if w.deleted {
		return nil // Everything goes with the InferenceService.
	}
	var breaches []error
	for name, route := range w.routes {
		if service, is := route.(*servingv1.Service); is {
			if named(w.isvc, service)[number] {
				breaches = append(breaches, fmt.Errorf("rule 4: revision %d is named by Knative Service %s when %s", number, name, what))
			}
			continue
		}
		split, err := SplitOf(w.isvc, route)
		switch {
		case err != nil:
			breaches = append(breaches, err)
		case split.Has(number):
			breaches = append(breaches, fmt.Errorf("rule 4: revision %d is in HTTPRoute %s (%s) when %s", number, name, split, what))
		case !TakenOver(route):
			breaches = append(breaches, fmt.Errorf("rule 4: the gateway has not taken HTTPRoute %s over when %s of revision %d", name, what, number))
		}
	}
	return breaches
}

// main is the name of the route that splits the traffic. The others are of tags.
func (w *world) main() string {
	if w.knative {
		return w.isvc + "-predictor"
	}
	return w.isvc
}

func (w *world) takeRoute(route client.Object, deleted bool) []error {
	name := route.GetName()
	before := w.routes[name]
	w.routes[name] = route
	if deleted {
		delete(w.routes, name)
		return nil
	}
	split, err := SplitOf(w.isvc, route)
	if err == nil && TakenOver(route) && name == w.main() {
		w.served[split.String()] = true
	}
	if before != nil && before.GetGeneration() == route.GetGeneration() &&
		before.GetAnnotations()[annotationRecord] == route.GetAnnotations()[annotationRecord] {
		return nil // Only its status has changed.
	}
	if err != nil {
		return []error{fmt.Errorf("rule 1: %w", err)}
	}
	var breaches []error
	if servesAnybody(route) {
		breaches = w.checkThere(name, split, before)
	}
	if name != w.main() {
		return breaches
	}
	breaches = append(breaches, w.checkRecord(route, split)...)
	if !recordsWhatIs(before, route) {
		breaches = append(breaches, w.checkReady(split)...)
	}
	w.split = split
	return breaches
}

// servesAnybody tells whether a route can lead to anybody. A Knative Service that is made says who is to serve, and serves
// nobody until Knative has made who that is.
func servesAnybody(route client.Object) bool {
	service, is := route.(*servingv1.Service)
	return !is || len(service.Status.Traffic) > 0
}

// recordsWhatIs tells whether a Knative Service gets its record for traffic that Knative already serves. It names its first
// revision when it is made, and Knative alone chooses when that is served.
func recordsWhatIs(before, route client.Object) bool {
	last, was := before.(*servingv1.Service)
	service, is := route.(*servingv1.Service)
	return was && is && servesAnybody(last) && equality.Semantic.DeepEqual(last.Spec.Traffic, service.Spec.Traffic)
}

// checkThere is rule 4, upwards: what a route comes to name is there. A Knative Service need not name who gets nothing.
func (w *world) checkThere(name string, split rollout.Split, before client.Object) []error {
	var last rollout.Split
	if before != nil {
		last, _ = SplitOf(w.isvc, before) // Said when it was written.
	}
	var breaches []error
	for _, share := range split.Shares() {
		named := share.Percent > 0 || !w.knative
		if named && !last.Has(share.Revision) && !w.there[share.Revision] {
			breaches = append(breaches, fmt.Errorf("rule 4: route %s names revision %d, which has no Service or Knative Revision", name, share.Revision))
		}
	}
	return breaches
}

// checkRecord is rule 7: record and weights are one write.
func (w *world) checkRecord(route client.Object, split rollout.Split) []error {
	record, err := RecordOf(route)
	if err != nil && w.knative && split.IsEmpty() {
		return nil // There is a Knative Service before anybody is served.
	}
	if err != nil {
		return []error{fmt.Errorf("rule 7: %w", err)}
	}
	if !record.Split.Equal(split) {
		return []error{fmt.Errorf("rule 7: the record says %s and the route does %s", record.Split, split)}
	}
	return nil
}

// checkReady is rule 2: who gets a first share can serve, unless nobody who has one can.
func (w *world) checkReady(split rollout.Split) []error {
	serving := w.split.IsEmpty()
	for _, share := range w.split.Shares() {
		serving = serving || share.Percent > 0 && w.canServe(share.Revision)
	}
	var breaches []error
	for _, share := range split.Shares() {
		if share.Percent > 0 && w.split.Percent(share.Revision) == 0 && !w.canServe(share.Revision) && serving {
			breaches = append(breaches, fmt.Errorf("rule 2: revision %d gets %d %% and has no ready endpoint", share.Revision, share.Percent))
		}
	}
	return breaches
}

func (w *world) canServe(number rollout.Number) bool {
	return w.ready[number] > 0 || w.fromZero[number]
}

// takeStatus looks at what users are told.
func (w *world) takeStatus(isvc *v1beta1.InferenceService) []error {
	var breaches []error
	status := isvc.Status
	if status.ObservedGeneration > isvc.Generation {
		breaches = append(breaches, fmt.Errorf("rule 9: the status is about generation %d of %d", status.ObservedGeneration, isvc.Generation))
	}
	for _, condition := range status.Conditions {
		if condition.ObservedGeneration != status.ObservedGeneration {
			breaches = append(breaches, fmt.Errorf("rule 9: condition %s is about generation %d, and the status about %d",
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
		breaches = append(breaches, fmt.Errorf("rule 1: the status reports a split that is none: %w", err))
	case !w.served[split.String()]:
		breaches = append(breaches, fmt.Errorf("rule 4: the status reports %s, which the gateway has never served", split))
	case apimeta.IsStatusConditionTrue(status.Conditions, v1beta1.ConditionReady) && status.ObservedGeneration == isvc.Generation:
		breaches = append(breaches, w.checkRealised(isvc, split)...)
	}
	return breaches
}

// checkRealised is rule 9: Ready is never True for a spec that has not been acted on.
func (w *world) checkRealised(isvc *v1beta1.InferenceService, reported rollout.Split) []error {
	route := w.routes[w.main()]
	if route == nil {
		return []error{errors.New("rule 9: Ready is True and there is no route")}
	}
	if !reported.Equal(w.split) {
		return []error{fmt.Errorf("rule 9: Ready is True, the status reports %s, and the route does %s", reported, w.split)}
	}
	record, err := RecordOf(route)
	if err != nil {
		return nil // Said when the route was written.
	}
	asked, acted := isvc.Spec.Predictor.CanaryTrafficPercent, record.Percent
	if (asked == nil) != (acted == nil) || asked != nil && int(*asked) != *acted {
		return []error{fmt.Errorf("rule 9: Ready is True, and the percent that was acted on is not that of generation %d", isvc.Generation)}
	}
	return nil
}
