// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
	"github.com/serinus-io/serinus/internal/testkit/watchrecorder"
)

// lifecycle is a sequence of changes to one InferenceService. It is run repeatedly, each time with
// other faults.
type lifecycle struct {
	options  []configOption
	replicas testkit.Edit
	steps    []step
}

// step is one change by a user, and its expected result.
type step struct {
	name    string
	options []testkit.Edit
	columns [5]string
	// splits are the expected splits of the route, in order. A split in parentheses is optional: no
	// operator may be running while it applies.
	splits []string
	runs   []int
	tags   map[string]string
}

// minLifecycleReplicas is what a revision needs before it gets a share.
const minLifecycleReplicas = 2

var (
	withTagRouting = annotation(v1beta1.AnnotationEnableTagRouting, "true")
	withStop       = annotation(v1beta1.AnnotationStop, "true")
)

// lifecycles together cover every kind of change during a release.
var lifecycles = map[string]lifecycle{
	"a release": {replicas: replicaBounds(minLifecycleReplicas, minLifecycleReplicas+1), steps: []step{{
		name: "creation", options: []testkit.Edit{model(1)},
		columns: [5]string{"True", "", "100", "", revision(1)}, splits: []string{"1:100"}, runs: []int{1},
	}, {
		name: "canary", options: []testkit.Edit{model(2), percent(10)},
		columns: [5]string{"True", "90", "10", revision(1), revision(2)}, splits: []string{"2:10 1:90"}, runs: []int{1, 2},
	}, {
		name: "promotion", options: []testkit.Edit{model(2)},
		columns: [5]string{"True", "", "100", "", revision(2)}, splits: []string{"2:100"}, runs: []int{2},
	}, {
		name: "rollback to a revision that was scaled to zero", options: []testkit.Edit{model(2), percent(0)},
		columns: [5]string{"True", "100", "0", revision(1), revision(2)}, splits: []string{"(2:50 1:50)", "2:0 1:100"}, runs: []int{1, 2},
	}, {
		name: "supersession", options: []testkit.Edit{model(3), percent(20)},
		columns: [5]string{"True", "80", "20", revision(1), revision(3)}, splits: []string{"(1:100)", "3:20 1:80"}, runs: []int{1, 3},
	}, {
		name: "abort", options: []testkit.Edit{model(1), percent(20)},
		columns: [5]string{"True", "", "100", "", revision(1)}, splits: []string{"1:100"}, runs: []int{1},
	}, {
		name: "canary with tag routing", options: []testkit.Edit{model(1), percent(20), withTagRouting},
		columns: [5]string{"True", "80", "20", revision(1), revision(4)}, splits: []string{"4:20 1:80"}, runs: []int{1, 4},
		tags: map[string]string{"latest": "4:100", "prev": "1:100"},
	}, {
		name: "promotion with tag routing", options: []testkit.Edit{model(1), withTagRouting},
		columns: [5]string{"True", "", "100", "", revision(4)}, splits: []string{"4:100"}, runs: []int{4},
		tags: map[string]string{"latest": "4:100"},
	}, {
		name: "stop", options: []testkit.Edit{model(1), withTagRouting, withStop},
		columns: [5]string{"False", "", "", "", ""}, splits: []string{"none"},
	}, {
		name: "resumption", options: []testkit.Edit{model(1), withTagRouting},
		columns: [5]string{"True", "", "100", "", revision(4)}, splits: []string{"4:100"}, runs: []int{4},
		tags: map[string]string{"latest": "4:100"},
	}, {
		name: "return to an earlier revision", options: []testkit.Edit{model(2)},
		columns: [5]string{"True", "", "100", "", revision(2)}, splits: []string{"2:100"}, runs: []int{2},
	}}},
	"a release with a long drain period": {
		options:  []configOption{func(cfg *config.Config) { cfg.Rollout.DrainPeriod.Duration = 10 * time.Minute }},
		replicas: replicaBounds(minLifecycleReplicas, minLifecycleReplicas),
		steps: []step{{
			name: "creation", options: []testkit.Edit{model(1)},
			columns: [5]string{"True", "", "100", "", revision(1)}, splits: []string{"1:100"}, runs: []int{1},
		}, {
			name: "promotion", options: []testkit.Edit{model(2)},
			columns: [5]string{"True", "", "100", "", revision(2)}, splits: []string{"2:100"}, runs: []int{1, 2},
		}, {
			name: "rollback to a running revision", options: []testkit.Edit{model(2), percent(0)},
			columns: [5]string{"True", "100", "0", revision(1), revision(2)}, splits: []string{"2:0 1:100"}, runs: []int{1, 2},
		}, {
			name: "second attempt", options: []testkit.Edit{model(2), percent(50)},
			columns: [5]string{"True", "50", "50", revision(1), revision(2)}, splits: []string{"2:50 1:50"}, runs: []int{1, 2},
		}},
	},
}

// baseline holds the outcome of each step of a lifecycle without faults.
type baseline []outcome

// outcome is the snapshot after a step, all events so far, and the number of the step's writes.
type outcome struct {
	snapshot string
	events   []string
	writes   int
}

func (b baseline) maxWrites() int {
	highest := 0
	for _, o := range b {
		highest = max(highest, o.writes)
	}
	return highest
}

// recordBaselines runs each lifecycle once without faults. The results are independent of the
// namespace.
func recordBaselines(ctx SpecContext, lifecycles map[string]lifecycle) map[string]baseline {
	GinkgoHelper()
	baselines := map[string]baseline{}
	var variants []variant
	for name, l := range lifecycles {
		outcomes := make(baseline, len(l.steps))
		baselines[name] = outcomes
		variants = append(variants, variant{name: name, options: l.options, body: func(s *scenario) {
			for i, st := range l.steps {
				before := len(s.operator.wire.Writes())
				s.apply(append(slices.Clone(st.options), l.replicas)...)
				s.awaitStep(st)
				snapshot, err := s.snapshot()
				Expect(err).NotTo(HaveOccurred())
				events, err := s.transitionEvents()
				Expect(err).NotTo(HaveOccurred())
				outcomes[i] = outcome{snapshot: snapshot, events: events, writes: len(s.operator.wire.Writes()) - before}
			}
			s.checkLifecycle(l)
		}})
	}
	runAll(ctx, variants)
	return baselines
}

func (s *scenario) awaitStep(st step) {
	GinkgoHelper()
	By(st.name + " in " + s.namespace)
	s.awaitColumns(st.columns[0], st.columns[1], st.columns[2], st.columns[3], st.columns[4])
	s.awaitSplit(st.splits[len(st.splits)-1])
	s.awaitTags(st.tags)
	s.awaitRunning(st.runs...)
	s.awaitSettled()
}

// transitionEvents returns the sorted events of the release. It omits readiness, and the traffic
// shifts of a rollback, which may happen in parts.
func (s *scenario) transitionEvents() ([]string, error) {
	events, err := s.events()
	half := fmt.Sprintf("50 %% on %s, 50 %% on %s", revision(2), revision(1))
	back := fmt.Sprintf("from 100 %% on %s to 0 %% on %s, 100 %% on %s", revision(2), revision(2), revision(1))
	events = slices.DeleteFunc(events, func(event string) bool {
		return strings.Contains(event, half) || strings.Contains(event, back) || !slices.ContainsFunc([]string{"RevisionCreated", "TrafficShifted", "Promoted", "RolledBack", "Superseded"}, func(reason string) bool {
			return strings.HasPrefix(event, reason+": ")
		})
	})
	slices.Sort(events)
	return events, err
}

// checkLifecycle checks that the route had every split in order, and that each revision had its
// replicas before it got a share. The recorder checks the other rules.
func (s *scenario) checkLifecycle(l lifecycle) {
	GinkgoHelper()
	var splits []string
	for _, st := range l.steps {
		splits = append(splits, st.splits...)
	}
	Eventually(func() []string { return s.recorder.Splits(iris) }).Should(WithTransform(func(had []string) []string {
		return diffSplits(splits, had)
	}, BeEmpty()), "splits of the route")
	Expect(s.sharesBeforeCapacity()).To(BeEmpty())
}

// diffSplits returns the unexpected splits, or nothing if only optional splits are missing.
func diffSplits(want, had []string) []string {
	for len(want) > 0 {
		optional := strings.HasPrefix(want[0], "(")
		next := strings.Trim(want[0], "()")
		switch {
		case len(had) > 0 && had[0] == next:
			had = had[1:]
		case !optional:
			return append([]string{"the split " + next + " is missing; the remaining splits are"}, had...)
		}
		want = want[1:]
	}
	return had
}

// sharesBeforeCapacity returns the first shares that revisions got before they had the replicas. A
// stable that returns in parts is exempt while its share does not exceed its ready replicas.
func (s *scenario) sharesBeforeCapacity() []string {
	var found []string
	ready, served := map[string]int{}, rollout.Split{}
	for _, entry := range s.recorder.Entries() {
		switch object := entry.Object.(type) {
		case *discoveryv1.EndpointSlice:
			count := 0
			for _, endpoint := range object.Endpoints {
				if *endpoint.Conditions.Ready && !entry.Deleted {
					count++
				}
			}
			ready[object.Labels[discoveryv1.LabelServiceName]] = count
		case *gatewayv1.HTTPRoute:
			split, err := watchrecorder.SplitOf(iris, object)
			if err != nil || object.Name != iris {
				continue
			}
			for _, share := range split.Shares() {
				name := revision(int(share.Revision))
				state, err := rollout.DecodeState(object.Annotations["rollout.serinus.io/record"])
				if part := err == nil && state.Returning && state.Stable == share.Revision; part && share.Percent*minLifecycleReplicas <= 100*ready[name] {
					continue
				}
				if share.Percent > 0 && served.Percent(share.Revision) == 0 && ready[name] < minLifecycleReplicas {
					found = append(found, fmt.Sprintf("split %s gives %d %% to %s, which has %d ready replicas", split, share.Percent, name, ready[name]))
				}
			}
			served = split
		}
	}
	return found
}

// snapshot returns the objects of the operator and the status as text. It omits values that differ
// between runs, such as times and the names of pods and namespaces.
func (s *scenario) snapshot() (string, error) {
	isvc, err := s.isvc()
	if err != nil {
		return "", err
	}
	parts := []string{normalizedJSON(isvc.Status)}
	for _, list := range []client.ObjectList{
		&appsv1.ControllerRevisionList{}, &appsv1.DeploymentList{}, &corev1.ServiceList{},
		&autoscalingv2.HorizontalPodAutoscalerList{}, &gatewayv1.HTTPRouteList{},
	} {
		if err := api.List(s.ctx, list, client.InNamespace(s.namespace)); err != nil {
			return "", err
		}
		items, err := apimeta.ExtractList(list)
		if err != nil {
			return "", err
		}
		for _, item := range items {
			parts = append(parts, normalizedJSON(desiredState(item)))
		}
	}
	return strings.ReplaceAll(strings.Join(parts, "\n"), s.namespace, "NAMESPACE"), nil
}

func (s *scenario) awaitSnapshot(want, when string) {
	GinkgoHelper()
	Eventually(func() (string, error) {
		snapshot, err := s.snapshot()
		return cmp.Diff(want, snapshot), err
	}).Should(BeEmpty(), "snapshot %s (-want +got)", when)
}

// desiredState returns the parts of an object that the operator writes.
func desiredState(item runtime.Object) map[string]any {
	GinkgoHelper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(item)
	Expect(err).NotTo(HaveOccurred())
	metadata := object["metadata"].(map[string]any)
	object["metadata"] = map[string]any{
		"name": metadata["name"], "labels": metadata["labels"], "annotations": metadata["annotations"],
		"ownerReferences": metadata["ownerReferences"],
	}
	delete(object, "status")
	// The template is part of the Deployment. A recreated ControllerRevision also has defaults in
	// it.
	unstructured.RemoveNestedField(object, "data", "runs", "template")
	if spec, ok := object["spec"].(map[string]any); ok {
		delete(spec, "clusterIP")
		delete(spec, "clusterIPs")
	}
	return object
}

// variableKeys are the keys of times, generations and generated values. The key servedBefore, of the
// rollout state, depends on how long the gateway took.
var variableKeys = []string{"lastTransitionTime", "observedGeneration", "uid", "time", "location", "shiftedAt", "before", "servedBefore", "trialBegan", "waitingSince", "rollout.serinus.io/idle-since"}

// progressKeys are the keys that depend on the course of a rollout.
var progressKeys = []string{"askedAt", "lostAt", "routed", "rollout.serinus.io/scaled-up-at"}

func normalizedJSON(from any) string {
	GinkgoHelper()
	text, err := json.Marshal(from)
	Expect(err).NotTo(HaveOccurred())
	var plain any
	Expect(json.Unmarshal(text, &plain)).To(Succeed())
	text, err = json.MarshalIndent(normalize(plain), "", " ")
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

func normalize(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for _, key := range progressKeys {
			delete(value, key)
		}
		for _, key := range variableKeys {
			if value[key] != nil {
				value[key] = "…"
			}
		}
		for key := range value {
			value[key] = normalize(value[key])
			if inner, ok := value[key].(map[string]any); ok && len(inner) == 0 {
				delete(value, key)
			}
		}
	case []any:
		for i := range value {
			value[i] = normalize(value[i])
		}
	case string:
		var object map[string]any // Some annotations hold JSON.
		if json.Unmarshal([]byte(value), &object) == nil {
			return normalize(object)
		}
	}
	return value
}
