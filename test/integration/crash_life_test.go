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
	"github.com/serinus-io/serinus/test/journal"
)

// life is all that can become of an InferenceService, one chapter after the other. It is told over and over, with
// something else going wrong each time.
type life struct {
	options  []option
	replicas manifest
	chapters []chapter
}

// chapter is what a user does, and what comes of it.
type chapter struct {
	name   string
	says   []manifest
	prints [5]string
	// splits are those that the route takes on, in order. One in brackets may be left out: its moment can pass while
	// no operator is there to see it.
	splits []string
	runs   []int
	tags   map[string]string
}

// leastReplicas is how many replicas a revision of a life must have ready before it gets a share.
const leastReplicas = 2

var (
	tagged  = annotation(v1beta1.AnnotationEnableTagRouting, "true")
	stopped = annotation(v1beta1.AnnotationStop, "true")
)

// lives are by name. Between them they have every flow of a release.
var lives = map[string]life{
	"a life": {replicas: replicas(leastReplicas, leastReplicas+1), chapters: []chapter{{
		name: "creation", says: []manifest{model(1)},
		prints: [5]string{"True", "", "100", "", revision(1)}, splits: []string{"1:100"}, runs: []int{1},
	}, {
		name: "canary", says: []manifest{model(2), percent(10)},
		prints: [5]string{"True", "90", "10", revision(1), revision(2)}, splits: []string{"2:10 1:90"}, runs: []int{1, 2},
	}, {
		name: "promotion", says: []manifest{model(2)},
		prints: [5]string{"True", "", "100", "", revision(2)}, splits: []string{"2:100"}, runs: []int{2},
	}, {
		name: "rollback to a revision that was scaled away", says: []manifest{model(2), percent(0)},
		prints: [5]string{"True", "100", "0", revision(1), revision(2)}, splits: []string{"(2:50 1:50)", "2:0 1:100"}, runs: []int{1, 2},
	}, {
		name: "supersession", says: []manifest{model(3), percent(20)},
		prints: [5]string{"True", "80", "20", revision(1), revision(3)}, splits: []string{"(1:100)", "3:20 1:80"}, runs: []int{1, 3},
	}, {
		name: "abort", says: []manifest{model(1), percent(20)},
		prints: [5]string{"True", "", "100", "", revision(1)}, splits: []string{"1:100"}, runs: []int{1},
	}, {
		name: "canary with hosts for its tags", says: []manifest{model(1), percent(20), tagged},
		prints: [5]string{"True", "80", "20", revision(1), revision(4)}, splits: []string{"4:20 1:80"}, runs: []int{1, 4},
		tags: map[string]string{"latest": "4:100", "prev": "1:100"},
	}, {
		name: "promotion with hosts for its tags", says: []manifest{model(1), tagged},
		prints: [5]string{"True", "", "100", "", revision(4)}, splits: []string{"4:100"}, runs: []int{4},
		tags: map[string]string{"latest": "4:100"},
	}, {
		name: "stop", says: []manifest{model(1), tagged, stopped},
		prints: [5]string{"False", "", "", "", ""}, splits: []string{"none"},
	}, {
		name: "resumption", says: []manifest{model(1), tagged},
		prints: [5]string{"True", "", "100", "", revision(4)}, splits: []string{"4:100"}, runs: []int{4},
		tags: map[string]string{"latest": "4:100"},
	}, {
		name: "return to an early revision", says: []manifest{model(2)},
		prints: [5]string{"True", "", "100", "", revision(2)}, splits: []string{"2:100"}, runs: []int{2},
	}}},
	"a life in which old revisions take long to drain": {
		options:  []option{func(cfg *config.Config) { cfg.Rollout.DrainPeriod.Duration = 10 * time.Minute }},
		replicas: replicas(leastReplicas, leastReplicas),
		chapters: []chapter{{
			name: "creation", says: []manifest{model(1)},
			prints: [5]string{"True", "", "100", "", revision(1)}, splits: []string{"1:100"}, runs: []int{1},
		}, {
			name: "promotion", says: []manifest{model(2)},
			prints: [5]string{"True", "", "100", "", revision(2)}, splits: []string{"2:100"}, runs: []int{1, 2},
		}, {
			name: "rollback to a revision that still runs", says: []manifest{model(2), percent(0)},
			prints: [5]string{"True", "100", "0", revision(1), revision(2)}, splits: []string{"2:0 1:100"}, runs: []int{1, 2},
		}, {
			name: "another try", says: []manifest{model(2), percent(50)},
			prints: [5]string{"True", "50", "50", revision(1), revision(2)}, splits: []string{"2:50 1:50"}, runs: []int{1, 2},
		}},
	},
}

// course is a life as it takes its course when nothing goes wrong, by chapter.
type course []ending

// ending is how a chapter ends, what was announced since the first one, and how many writes this one took.
type ending struct {
	world     string
	announced []string
	writes    int
}

// most is the most writes that a chapter takes.
func (c course) most() int {
	most := 0
	for _, end := range c {
		most = max(most, end.writes)
	}
	return most
}

// undisturbed tells each life once, with nothing going wrong. What it returns holds for all namespaces.
func undisturbed(ctx SpecContext, lives map[string]life) map[string]course {
	GinkgoHelper()
	courses := map[string]course{}
	var trials []trial
	for name, told := range lives {
		endings := make(course, len(told.chapters))
		courses[name] = endings
		trials = append(trials, trial{name: name, options: told.options, tell: func(s *story) {
			for i, c := range told.chapters {
				before := len(s.operator.wire.Writes())
				s.apply(append(slices.Clone(c.says), told.replicas)...)
				s.reaches(c)
				world, err := s.world()
				Expect(err).NotTo(HaveOccurred())
				announced, err := s.transitions()
				Expect(err).NotTo(HaveOccurred())
				endings[i] = ending{world: world, announced: announced, writes: len(s.operator.wire.Writes()) - before}
			}
			s.livedThrough(told)
		}})
	}
	together(ctx, trials)
	return courses
}

// reaches waits for the end of a chapter.
func (s *story) reaches(c chapter) {
	GinkgoHelper()
	By(c.name + " in " + s.namespace)
	s.prints(c.prints[0], c.prints[1], c.prints[2], c.prints[3], c.prints[4])
	s.splits(c.splits[len(c.splits)-1])
	s.tagged(c.tags)
	s.runs(c.runs...)
	s.settles()
}

// transitions lists, sorted, what was announced of the release, apart from when it was ready, and from the shifts of a
// rollback, which may come in parts.
func (s *story) transitions() ([]string, error) {
	said, err := s.announced()
	half := fmt.Sprintf("50 %% on %s, 50 %% on %s", revision(2), revision(1))
	back := fmt.Sprintf("from 100 %% on %s to 0 %% on %s, 100 %% on %s", revision(2), revision(2), revision(1))
	said = slices.DeleteFunc(said, func(event string) bool {
		return strings.Contains(event, half) || strings.Contains(event, back) || !slices.ContainsFunc([]string{"RevisionCreated", "TrafficShifted", "Promoted", "RolledBack", "Superseded"}, func(reason string) bool {
			return strings.HasPrefix(event, reason+": ")
		})
	})
	slices.Sort(said)
	return said, err
}

// livedThrough holds what has happened against the life: each split had its time, in order, and nobody got a share
// before having the replicas for it. The journal looks after the other rules.
func (s *story) livedThrough(told life) {
	GinkgoHelper()
	var splits []string
	for _, c := range told.chapters {
		splits = append(splits, c.splits...)
	}
	Eventually(func() []string { return s.journal.Splits(iris) }).Should(WithTransform(func(had []string) []string {
		return withoutOptional(splits, had)
	}, BeEmpty()), "what the route has been through")
	Expect(s.premature()).To(BeEmpty())
}

// withoutOptional says how the splits that a route had differ from those that it should have had, some of which, in
// brackets, may be missing.
func withoutOptional(wanted, had []string) []string {
	for len(wanted) > 0 {
		optional := strings.HasPrefix(wanted[0], "(")
		next := strings.Trim(wanted[0], "()")
		switch {
		case len(had) > 0 && had[0] == next:
			had = had[1:]
		case !optional:
			return append([]string{"after " + next + " is missing, there are"}, had...)
		}
		wanted = wanted[1:]
	}
	return had
}

// premature lists the shares that revisions got before they had the replicas for it. The stable takes back at once what
// a canary had, revisions of an InferenceService that nobody serves need not wait, and a stable that comes back gets its
// share in parts.
func (s *story) premature() []string {
	var found []string
	ready, served := map[string]int{}, rollout.Split{}
	for _, entry := range s.journal.Entries() {
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
			split, err := journal.SplitOf(iris, object)
			if err != nil || object.Name != iris {
				continue
			}
			for _, share := range split.Shares() {
				name := revision(int(share.Revision))
				record, err := rollout.DecodeRecord(object.Annotations["rollout.serinus.io/record"])
				if part := err == nil && record.Returning && record.Stable == share.Revision; part && share.Percent*leastReplicas <= 100*ready[name] {
					continue
				}
				if share.Percent > 0 && served.Percent(share.Revision) == 0 && ready[name] < leastReplicas {
					found = append(found, fmt.Sprintf("%s gives %d %% to %s, which has %d ready replicas", split, share.Percent, name, ready[name]))
				}
			}
			served = split
		}
	}
	return found
}

// world is all that there is, as one text: what the operator has made and what it says. What differs from one telling
// to the next, as times and names of pods and namespaces, is left out.
func (s *story) world() (string, error) {
	isvc, err := s.isvc()
	if err != nil {
		return "", err
	}
	parts := []string{withoutTimes(isvc.Status)}
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
			parts = append(parts, withoutTimes(intentOf(item)))
		}
	}
	return strings.ReplaceAll(strings.Join(parts, "\n"), s.namespace, "NAMESPACE"), nil
}

// becomesWorld waits until the world is as wanted.
func (s *story) becomesWorld(wanted, when string) {
	GinkgoHelper()
	Eventually(func() (string, error) {
		world, err := s.world()
		return cmp.Diff(wanted, world), err
	}).Should(BeEmpty(), "how the world %s differs (-wanted +is)", when)
}

// intentOf is what an object says, without what the API server adds to it.
func intentOf(item runtime.Object) map[string]any {
	GinkgoHelper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(item)
	Expect(err).NotTo(HaveOccurred())
	metadata := object["metadata"].(map[string]any)
	object["metadata"] = map[string]any{
		"name": metadata["name"], "labels": metadata["labels"], "annotations": metadata["annotations"],
		"ownerReferences": metadata["ownerReferences"],
	}
	delete(object, "status")
	// The Deployment has the template. A record that was made anew has the defaults in it, too.
	unstructured.RemoveNestedField(object, "data", "runs", "template")
	if spec, ok := object["spec"].(map[string]any); ok {
		delete(spec, "clusterIP")
		delete(spec, "clusterIPs")
	}
	return object
}

// transient are the keys of times and generations, of what is generated, and of the record's memory of the split before:
// that is about how long the gateway took.
var transient = []string{"lastTransitionTime", "observedGeneration", "uid", "time", "location", "shiftedAt", "before", "rollout.serinus.io/idle-since"}

// memories are the keys of what a rollout has been through on its way.
var memories = []string{"askedAt", "lostAt", "routed", "rollout.serinus.io/scaled-up-at"}

func withoutTimes(from any) string {
	GinkgoHelper()
	text, err := json.Marshal(from)
	Expect(err).NotTo(HaveOccurred())
	var plain any
	Expect(json.Unmarshal(text, &plain)).To(Succeed())
	text, err = json.MarshalIndent(prune(plain), "", " ")
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

func prune(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for _, key := range memories {
			delete(value, key)
		}
		for _, key := range transient {
			if value[key] != nil {
				value[key] = "…"
			}
		}
		for key := range value {
			value[key] = prune(value[key])
			if inner, ok := value[key].(map[string]any); ok && len(inner) == 0 {
				delete(value, key)
			}
		}
	case []any:
		for i := range value {
			value[i] = prune(value[i])
		}
	case string:
		var record map[string]any // Annotations hold JSON.
		if json.Unmarshal([]byte(value), &record) == nil {
			return prune(record)
		}
	}
	return value
}
