// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

const (
	r1 = "sklearn-iris-predictor-00001"
	r2 = "sklearn-iris-predictor-00002"
	r3 = "sklearn-iris-predictor-00003"
)

var crash = &backend.Failure{Reason: "ContainerCrashed", Message: `container "kserve-container" ends with exit code 1`, ExitCode: 1}

// TestRolloutEvents compares all events of a rollout.
func TestRolloutEvents(t *testing.T) {
	o := newOperator(t)
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"first deployment", o.settle, []string{
			"Normal RevisionCreated Created revision " + r1,
			"Normal TrafficShifted First traffic: 100 % on " + r1,
			"Normal Ready 100 % on " + r1,
		}},
		{"a label only", func() {
			o.edit(func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.MaxReplicas = 1 })
			o.settle()
		}, nil},
		{"canary", func() { o.rollOut("v2", new(int64(10))) }, []string{
			"Normal RevisionCreated Created revision " + r2,
			"Normal TrafficShifted Shifted traffic from 100 % on " + r1 + " to 10 % on " + r2 + ", 90 % on " + r1,
			"Normal Ready 10 % on " + r2 + ", 90 % on " + r1,
		}},
		{"it crashes", func() {
			o.backend.failing[2] = crash
			o.backend.catchUp()
			o.settle()
		}, []string{
			"Normal TrafficShifted Shifted traffic from 10 % on " + r2 + ", 90 % on " + r1 + " to 0 % on " + r2 + ", 100 % on " + r1,
			"Warning RevisionFailed " + r2 + ": " + crash.Message,
		}},
		{"it keeps crashing", func() {
			again := *crash
			again.Detail, again.Time = "another last line", testkit.Start.Add(time.Hour)
			o.backend.failing[2] = &again
			o.backend.catchUp()
			o.settle()
		}, nil},
		{"it recovers", func() {
			o.clock.SetTime(o.clock.Now().Add(time.Minute)) // Later than the stable interval.
			delete(o.backend.failing, 2)
			o.backend.catchUp()
			o.settle()
		}, []string{
			"Normal TrafficShifted Shifted traffic from 0 % on " + r2 + ", 100 % on " + r1 + " to 10 % on " + r2 + ", 90 % on " + r1,
			"Normal RevisionRecovered " + r2 + " does not fail any more",
			"Normal Ready 10 % on " + r2 + ", 90 % on " + r1,
		}},
		{"promotion", func() { o.rollOut("v2", nil) }, []string{
			"Normal Promoted Promoted " + r2 + " over " + r1,
			"Normal TrafficShifted Shifted traffic from 10 % on " + r2 + ", 90 % on " + r1 + " to 100 % on " + r2,
		}},
		{"rollback", func() { o.rollOut("v2", new(int64(0))) }, []string{
			"Normal RolledBack Rolled " + r2 + " back to " + r1,
			"Normal TrafficShifted Shifted traffic from 100 % on " + r2 + " to 0 % on " + r2 + ", 100 % on " + r1,
		}},
		{"the next canary", func() { o.rollOut("v3", new(int64(20))) }, []string{
			"Normal RevisionCreated Created revision " + r3,
			"Normal Superseded Took " + r2 + " out of the traffic: the spec asks for " + r3,
			"Normal TrafficShifted Shifted traffic from 0 % on " + r2 + ", 100 % on " + r1 + " to 100 % on " + r1,
			"Normal TrafficShifted Shifted traffic from 100 % on " + r1 + " to 20 % on " + r3 + ", 80 % on " + r1,
		}}, // No status with another Ready was written.
		{"the spec is malformed", func() {
			o.edit(testkit.Annotation(v1beta1.AnnotationStop, "yes"))
			o.settle()
		}, []string{`Warning InvalidPredictorSpec metadata.annotations[serving.kserve.io/stop]: "yes": write "true" or "false"`}},
		{"the spec is corrected", func() {
			o.edit(func(isvc *v1beta1.InferenceService) { delete(isvc.Annotations, v1beta1.AnnotationStop) })
			o.settle()
		}, []string{"Normal Ready 20 % on " + r3 + ", 80 % on " + r1}},
		{"stop", func() {
			o.edit(testkit.Annotation(v1beta1.AnnotationStop, "true"))
			o.settle()
		}, []string{"Normal TrafficShifted Took all traffic away, which was 20 % on " + r3 + ", 80 % on " + r1}},
		{"resume", func() {
			o.edit(func(isvc *v1beta1.InferenceService) { delete(isvc.Annotations, v1beta1.AnnotationStop) })
			o.settle()
		}, []string{
			"Normal TrafficShifted Traffic again: 20 % on " + r3 + ", 80 % on " + r1,
			"Normal Ready 20 % on " + r3 + ", 80 % on " + r1,
		}},
	} {
		step.do()
		got := o.newEvents()
		if step.name == "it crashes" || step.name == "it recovers" {
			// The order of the pods' and the traffic's events is not significant.
			got, step.want = sorted(got), sorted(step.want)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// failureEvents returns the events about failures and recoveries.
func failureEvents(announced []string) []string {
	return slices.DeleteFunc(announced, func(event string) bool {
		return !strings.Contains(event, " RevisionFailed ") && !strings.Contains(event, " RevisionRecovered ")
	})
}

// TestFailureEvents checks that each failure is announced once, and each recovery once the revision
// can serve.
func TestFailureEvents(t *testing.T) {
	const (
		failed1, failed2       = "Warning RevisionFailed " + r1, "Warning RevisionFailed " + r2
		recovered1, recovered2 = "Normal RevisionRecovered " + r1 + " does not fail any more", "Normal RevisionRecovered " + r2 + " does not fail any more"
	)
	logged := func(line string) *backend.Failure {
		failure := *crash
		failure.Detail = line
		return &failure
	}
	pull := &backend.Failure{Reason: "ImagePullFailed", Message: "cannot pull the image", Detail: "manifest unknown"}
	const crashes = ": container \"kserve-container\" ends with exit code 1"
	type step struct {
		revision rollout.Number
		// failure keeps the revision from serving. It is nil for a revision that is still starting.
		failure *backend.Failure
		serves  bool
		want    []string
	}
	fails := func(n rollout.Number, failure *backend.Failure, want ...string) step {
		return step{revision: n, failure: failure, want: want}
	}
	starts := func(n rollout.Number, want ...string) step { return step{revision: n, want: want} }
	serves := func(n rollout.Number, want ...string) step { return step{revision: n, serves: true, want: want} }
	canary := func(o *operator) { o.rollOut("v2", new(int64(10))) }
	for name, test := range map[string]struct {
		before func(*operator)
		steps  []step
		// counted lists the reasons of failures with their counts.
		counted string
	}{
		"the stable beside a canary": {canary, []step{
			fails(1, logged("out of files"), failed1+", which has 90 % of the traffic, has no ready replica"+crashes+": out of files"),
			fails(1, logged("out of files, again")),
			starts(1),
			fails(1, logged("and again")),
			serves(1, recovered1),
			fails(1, crash, failed1+", which has 90 % of the traffic, has no ready replica"+crashes),
			serves(1, recovered1),
		}, "ContainerCrashed 2"},
		"the stable after a rollback": {func(o *operator) {
			o.rollOut("v2", nil)
			o.rollOut("v2", new(int64(0)))
		}, []step{
			fails(1, crash, failed1+", which has 100 % of the traffic, has no ready replica"+crashes),
			serves(1, recovered1),
		}, "ContainerCrashed 1"},
		"the stable alone": {func(*operator) {}, []step{
			fails(1, crash, failed1+crashes),
			starts(1),
			serves(1, recovered1),
		}, "ContainerCrashed 1"},
		"an image that can be pulled at last": {canary, []step{
			fails(2, pull, failed2+": cannot pull the image: manifest unknown"),
			starts(2),
			serves(2, recovered2),
		}, "ImagePullFailed 1"},
		"another cause": {canary, []step{
			fails(2, pull, failed2+": cannot pull the image: manifest unknown"),
			starts(2),
			fails(2, crash, failed2+crashes),
			starts(2),
			serves(2, recovered2),
		}, "ContainerCrashed 1, ImagePullFailed 1"},
		"one after the other": {canary, []step{
			fails(1, crash, failed1+", which has 90 % of the traffic, has no ready replica"+crashes),
			fails(2, pull, failed2+": cannot pull the image: manifest unknown"),
			serves(1, recovered1),
			serves(2, recovered2),
		}, "ContainerCrashed 1, ImagePullFailed 1"},
		"two that fail and start together": {canary, []step{
			fails(1, crash, failed1+", which has 90 % of the traffic, has no ready replica"+crashes),
			fails(2, pull, failed2+": cannot pull the image: manifest unknown"),
			starts(1),
			starts(2),
			fails(1, crash),
			fails(2, pull),
			serves(1, recovered1),
			serves(2, recovered2),
		}, "ContainerCrashed 1, ImagePullFailed 1"},
		"one that is still starting": {canary, []step{starts(1), serves(1), starts(2), serves(2)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			o.settle()
			test.before(o)
			o.newEvents()
			for i, step := range test.steps {
				o.clock.SetTime(o.clock.Now().Add(time.Minute)) // Later than the stable interval.
				o.backend.failing[step.revision] = step.failure
				if step.serves {
					delete(o.backend.failing, step.revision)
				}
				o.backend.catchUp()
				o.settle()
				if diff := cmp.Diff(step.want, failureEvents(o.newEvents()), cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("step %d (-want +got):\n%s", i, diff)
				}
			}
			if got := o.failureCounts(); got != test.counted {
				t.Errorf("failure counts are %q, want %q", got, test.counted)
			}
		})
	}
}

// failureCounts lists the reasons of failures with their counts.
func (o *operator) failureCounts() string {
	o.t.Helper()
	families, err := o.registry.Gather()
	o.must(err)
	var counted []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if count := metric.GetCounter().GetValue(); family.GetName() == "serinus_revision_failures_total" && count > 0 {
				counted = append(counted, fmt.Sprintf("%s %g", metric.GetLabel()[0].GetValue(), count))
			}
		}
	}
	return strings.Join(counted, ", ")
}

// TestAbandonedRevisionDoesNotRecover covers a revision that becomes ready while it is scaled down.
func TestAbandonedRevisionDoesNotRecover(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.backend.failing[2] = crash
	o.rollOut("v2", new(int64(10)))
	o.newEvents()
	delete(o.backend.failing, 2)
	o.backend.catchUp()
	o.rollOut("v1", nil)
	if got := failureEvents(o.newEvents()); len(got) > 0 {
		t.Errorf("the events are %v", got)
	}
}

// TestSimultaneousFailuresAreOneEvent: of two events with the same reason, the recorder keeps only
// the first note.
func TestSimultaneousFailuresAreOneEvent(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.rollOut("v2", new(int64(0)))
	o.newEvents()
	o.backend.failing[1], o.backend.failing[2] = crash, crash
	o.backend.catchUp()
	o.settle()
	want := []string{"Warning RevisionFailed " + r1 + ", which has 100 % of the traffic, has no ready replica: " + crash.Message + "; " + r2 + ": " + crash.Message}
	if diff := cmp.Diff(want, failureEvents(o.newEvents())); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := o.failureCounts(); got != "ContainerCrashed 2" {
		t.Errorf("failure counts are %q", got)
	}
	delete(o.backend.failing, 1)
	delete(o.backend.failing, 2)
	o.backend.catchUp()
	o.settle()
	want = []string{"Normal RevisionRecovered " + r1 + " does not fail any more; " + r2 + " does not fail any more"}
	if diff := cmp.Diff(want, failureEvents(o.newEvents())); diff != "" {
		t.Errorf("once they serve (-want +got):\n%s", diff)
	}
}

// TestUpgradeRepeatsNoFailure: the status of an earlier version has no rollout. It is written once,
// and the failure that it reports is not announced again.
func TestUpgradeRepeatsNoFailure(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.backend.failing[2] = crash
	o.rollOut("v2", new(int64(10)))
	isvc := o.isvc()
	isvc.Status.Rollout = nil
	o.must(o.server.Status().Update(t.Context(), isvc))
	o.newEvents()
	writes := o.statusWrites
	o.settle()
	if got := o.newEvents(); len(got) > 0 || o.statusWrites != writes+1 {
		t.Errorf("the status is written %d times, and the events are %v", o.statusWrites-writes, got)
	}
}

func sorted(all []string) []string { return slices.Sorted(slices.Values(all)) }

func TestOnlyWrittenTransitionsAreAnnounced(t *testing.T) {
	t.Run("the target cannot be created", func(t *testing.T) {
		o := newOperator(t)
		o.backend.createErr = errInvalid
		for range 3 {
			o.reconcile()
		}
		if diff := cmp.Diff([]string{"Warning RefusedByAPIServer " + errInvalid.Error() + "; it is tried again every 30 seconds"}, o.newEvents()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		o.backend.createErr = nil
		o.reconcile()
		if diff := cmp.Diff([]string{"Normal RevisionCreated Created revision " + r1}, o.newEvents()); diff != "" {
			t.Errorf("after the error is gone (-want +got):\n%s", diff)
		}
	})

	t.Run("the route cannot be written", func(t *testing.T) {
		o := newOperator(t)
		o.reconcile()
		o.backend.catchUp()
		o.newEvents()
		o.backend.routeErr = errInvalid
		for range 3 {
			o.reconcile()
		}
		if diff := cmp.Diff([]string{"Warning RefusedByAPIServer " + errInvalid.Error() + "; it is tried again every 30 seconds"}, o.newEvents()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if shifts := o.metric("serinus_traffic_shifts_total"); shifts != "" {
			t.Errorf("shifts are counted: %s", shifts)
		}
	})

	t.Run("something else fails", func(t *testing.T) {
		o := newOperator(t)
		o.reconcile()
		o.backend.catchUp()
		o.newEvents()
		o.backend.otherErr = errTransient
		if _, err := o.reconciler.Reconcile(t.Context(), o.isvc()); err == nil {
			t.Error("there is no error")
		}
		want := []string{"Normal TrafficShifted First traffic: 100 % on " + r1}
		if diff := cmp.Diff(want, o.newEvents()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if _, err := o.reconciler.Reconcile(t.Context(), o.isvc()); err == nil || len(o.newEvents()) > 0 {
			t.Errorf("it is announced twice; error is %v", err)
		}
	})
}

// TestQuotaIsReportedOnce: the used part of a quota changes all the time.
func TestQuotaIsReportedOnce(t *testing.T) {
	o := newOperator(t)
	for _, used := range []string{"5", "6", "5"} {
		o.backend.createErr = apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "deployments"}, "x",
			fmt.Errorf("exceeded quota: small, requested: count/deployments.apps=1, used: count/deployments.apps=%s, limited: count/deployments.apps=5", used))
		o.reconcile()
	}
	want := []string{`Warning RefusedByAPIServer deployments.apps "x" is forbidden: exceeded quota: small, requested: count/deployments.apps=1, limited: count/deployments.apps=5; it is tried again every 30 seconds`}
	if diff := cmp.Diff(want, o.newEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if o.statusWrites != 1 {
		t.Errorf("the status is written %d times", o.statusWrites)
	}
}

func TestNothingToRollBackTo(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.newEvents()
	o.rollOut("v1", new(int64(0)))
	want := []string{"Warning NothingToRollBackTo canaryTrafficPercent asks to undo the promotion of " + r1 + ", but no earlier revision is left"}
	if diff := cmp.Diff(want, o.newEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	o.reconcile()
	if again := o.newEvents(); len(again) > 0 {
		t.Errorf("it is announced twice: %v", again)
	}
}

// TestLongNotesAreTruncated: the API server rejects notes of more than 1,024 bytes.
func TestLongNotesAreTruncated(t *testing.T) {
	o := newOperator(t)
	for _, length := range []int{noteLimit - 1, noteLimit, noteLimit + 1, 3 * noteLimit} {
		o.backend.otherErr = &backend.ConflictError{Kind: strings.Repeat("ü", length/2), Name: "x"}
		o.reconcile()
		for _, event := range o.newEvents() {
			_, note, found := strings.Cut(event, "Warning OwnershipConflict ")
			if !found {
				continue
			}
			if len(note) > noteLimit || !utf8.ValidString(note) || note == "" {
				t.Errorf("a note of %d bytes has %d bytes, valid: %t", length, len(note), utf8.ValidString(note))
			}
		}
	}
	s := &scope{Reconciler: o.reconciler, isvc: o.isvc()}
	s.event(corev1.EventTypeNormal, "Reason", "Action", "100 % on a")
	if got := o.newEvents(); len(got) != 1 || got[0] != "Normal Reason 100 % on a" {
		t.Errorf("percent signs are interpreted: %v", got)
	}
}

// metric returns the label values of a metric's nonzero counters.
func (o *operator) metric(name string) string {
	o.t.Helper()
	families, err := o.registry.Gather()
	o.must(err)
	var lines []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && metric.GetCounter().GetValue() > 0 {
				var labels []string
				for _, label := range metric.GetLabel() {
					labels = append(labels, label.GetValue())
				}
				lines = append(lines, strings.Join(labels, " "))
			}
		}
	}
	return strings.Join(lines, "\n")
}

func TestShiftMetricsByReason(t *testing.T) {
	o := newOperator(t)
	counted := ""
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"first deployment", o.settle, "up Canary"},
		{"canary", func() { o.rollOut("v2", new(int64(10))) }, ""},
		{"less", func() { o.rollOut("v2", new(int64(5))) }, "down Canary"},
		{"it cannot serve", func() {
			o.backend.failing[2] = nil
			o.backend.catchUp()
			o.settle()
		}, "down Readiness"},
		{"it can serve again", func() {
			o.clock.SetTime(o.clock.Now().Add(time.Minute)) // Later than the stable interval.
			delete(o.backend.failing, 2)
			o.backend.catchUp()
			o.settle()
		}, "up Readiness"},
		{"promotion", func() { o.rollOut("v2", nil) }, "up Promotion"},
		{"rollback", func() { o.rollOut("v2", new(int64(0))) }, "down Rollback"},
		{"promotion again", func() { o.rollOut("v2", nil) }, ""},
		{"canary again", func() { o.rollOut("v3", new(int64(10))) }, ""},
		{"supersession", func() { o.backend.failing[4] = nil; o.rollOut("v4", new(int64(10))) }, "down Superseded"},
	} {
		step.do()
		now := o.metric("serinus_traffic_shifts_total")
		if added := strings.TrimSpace(strings.Join(newLines(now, counted), ", ")); added != step.want {
			t.Errorf("%s: new counters are %q, want %q", step.name, added, step.want)
		}
		counted = now
	}
}

// newLines returns the lines of text that other lacks.
func newLines(text, other string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.Contains(other, strings.TrimSpace(line)) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestFailuresAreCountedOnce(t *testing.T) {
	o := newOperator(t)
	o.backend.failing[1] = crash
	o.settle()
	for range 3 {
		o.reconcile()
	}
	err := testutil.GatherAndCompare(o.registry, strings.NewReader(`
# HELP serinus_revision_failures_total Failures of revisions that are the target or serve traffic, by reason. Each counts once until the revision can serve again.
# TYPE serinus_revision_failures_total counter
serinus_revision_failures_total{reason="ContainerConfigError"} 0
serinus_revision_failures_total{reason="ContainerCrashed"} 1
serinus_revision_failures_total{reason="ImagePullFailed"} 0
serinus_revision_failures_total{reason="ModelDownloadFailed"} 0
serinus_revision_failures_total{reason="Other"} 0
serinus_revision_failures_total{reason="OutOfMemory"} 0
serinus_revision_failures_total{reason="PodsRefused"} 0
serinus_revision_failures_total{reason="ProgressDeadlineExceeded"} 0
serinus_revision_failures_total{reason="Unschedulable"} 0
`), "serinus_revision_failures_total")
	if err != nil {
		t.Error(err)
	}
}

// TestFirstTrafficMetric checks that each revision is measured once, from its creation to the write
// of the route. A revision that is reactivated, or that was ready before its percent rose from 0,
// is not measured.
func TestFirstTrafficMetric(t *testing.T) {
	o := newOperator(t)
	observed := func() (count uint64, seconds float64) {
		families, err := o.registry.Gather()
		o.must(err)
		for _, family := range families {
			if family.GetName() == "serinus_spec_to_traffic_seconds" {
				histogram := family.GetMetric()[0].GetHistogram()
				return histogram.GetSampleCount(), histogram.GetSampleSum()
			}
		}
		return 0, 0
	}
	rollOut := func(image string, percent *int64) func() { return func() { o.rollOut(image, percent) } }
	for _, step := range []struct {
		name string
		do   func()
		// takes is the time from the creation of a revision to the write of the route.
		takes   time.Duration
		count   uint64
		seconds float64
	}{
		{"first deployment", rollOut("v1", nil), 42 * time.Second, 1, 42},
		{"a stop", func() { o.edit(testkit.Annotation(v1beta1.AnnotationStop, "true")); o.settle() }, time.Hour, 1, 42},
		{"the end of the stop", func() { o.edit(testkit.Annotation(v1beta1.AnnotationStop, "false")); o.settle() }, time.Hour, 1, 42},
		{"a canary that gets nothing yet", rollOut("v2", new(int64(0))), time.Hour, 1, 42},
		{"it gets something", rollOut("v2", new(int64(10))), time.Hour, 1, 42},
		{"promotion", rollOut("v2", nil), time.Hour, 1, 42},
		{"rollback", rollOut("v2", new(int64(0))), time.Hour, 1, 42},
		{"another one", rollOut("v3", new(int64(10))), 17500 * time.Millisecond, 2, 59.5},
		{"it gets more", rollOut("v3", new(int64(20))), time.Hour, 2, 59.5},
		{"it is aborted", rollOut("v1", new(int64(20))), time.Hour, 2, 59.5},
		{"it comes back", rollOut("v3", new(int64(20))), time.Hour, 2, 59.5},
		{"its promotion", rollOut("v3", nil), time.Hour, 2, 59.5},
		{"the first one comes back", rollOut("v1", nil), time.Hour, 2, 59.5},
	} {
		o.backend.created = o.clock.Now().Add(-step.takes)
		step.do()
		if count, seconds := observed(); count != step.count || seconds != step.seconds {
			t.Errorf("%s: %d are measured, with %g s in total; want %d with %g s", step.name, count, seconds, step.count, step.seconds)
		}
	}
}

func TestEveryTransitionIsDescribed(t *testing.T) {
	o := newOperator(t)
	s := &scope{Reconciler: o.reconciler, isvc: o.isvc(), observed: &backend.Observation{}}
	seen := map[string]bool{}
	for _, kind := range []rollout.TransitionKind{
		rollout.Created, rollout.Shifted, rollout.Promoted, rollout.WasRolledBack, rollout.Superseded, rollout.NothingToUndo,
	} {
		reason, note := s.describeTransition(rollout.Transition{Kind: kind, Revision: 2, Other: 1, To: rollout.All(2)})
		if reason == "" || note == "" || strings.Contains(note, "%!") || seen[reason] {
			t.Errorf("%s is announced as %s: %s", kind, reason, note)
		}
		seen[reason] = true
	}
}
