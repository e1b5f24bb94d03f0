// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The benchmark runs through with a few InferenceServices. This does not check durations and
// memory.
func TestBenchmark(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set to a folder with etcd, kube-apiserver and kubectl")
	}
	report, err := run(t.Context(), options{
		services: 10, grown: 20, rounds: 1, pace: 100 * time.Millisecond, settle: 2 * time.Second, dir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(report.compared); got != 1 {
		t.Errorf("creation was compared %d times, want once", got)
	}
	if got := len(report.stages); got != 2 {
		t.Fatalf("there were %d stages, want 2", got)
	}
	for _, s := range report.stages {
		if !s.shift.exact() {
			t.Errorf("at %d, a change of percent costs %v route and %v status writes", s.services, s.shift.routes, s.shift.statuses)
		}
		if writes := len(s.settled) + len(s.restarted); writes != 0 {
			t.Errorf("at %d, there are %d writes without a change", s.services, writes)
		}
		if s.memory.resident == 0 || s.memory.peak < s.memory.resident {
			t.Errorf("at %d, memory is %+v", s.services, s.memory)
		}
	}
	median := report.median()
	if got, want := tally(median.bareWrites), tally(filter(median.writes, func(r *request) bool { return !r.failed() })); !cmp.Equal(want, got) {
		t.Errorf("the bare client does not write what the operator does (-operator +bare):\n%s", cmp.Diff(want, got))
	}
}

func newRequest(user, verb, resource, subresource, name string, second int64) *request {
	r := &request{Verb: verb, Completed: metav1.NewMicroTime(time.Unix(second, 0))}
	r.User.Username = user
	r.ObjectRef.Resource, r.ObjectRef.Subresource, r.ObjectRef.Name = resource, subresource, name
	return r
}

func TestShiftCountsWrites(t *testing.T) {
	changed := func(name string) []*request {
		return []*request{
			newRequest(userOf(userAccount), "patch", "inferenceservices", "", name, 1),
			newRequest(operatorUser, "patch", "httproutes", "", name, 3),
			newRequest(operatorUser, "create", "events", "", name+".1", 3),
			newRequest(operatorUser, "patch", "inferenceservices", "status", name, 4),
		}
	}
	refused := newRequest(operatorUser, "patch", "inferenceservices", "status", "a", 5)
	refused.ResponseStatus.Code = 409
	tests := map[string]struct {
		more      []*request
		wantExact bool
	}{
		"one of each":        {wantExact: true},
		"reads":              {more: []*request{newRequest(operatorUser, "get", "httproutes", "", "a", 2)}, wantExact: true},
		"writes of others":   {more: []*request{newRequest(userOf(bareAccount), "patch", "httproutes", "", "a", 2)}, wantExact: true},
		"renewal of a lease": {more: []*request{newRequest(operatorUser, "update", "leases", "", "serinus", 2)}, wantExact: true},
		"a second route":     {more: []*request{newRequest(operatorUser, "patch", "httproutes", "", "a", 5)}},
		"a second status":    {more: []*request{newRequest(operatorUser, "patch", "inferenceservices", "status", "b", 5)}},
		"a refused write":    {more: []*request{refused}},
		"another kind":       {more: []*request{newRequest(operatorUser, "patch", "deployments", "", "a", 5)}},
		"an unrelated route": {more: []*request{newRequest(operatorUser, "patch", "httproutes", "", "c", 5)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var s shift
			all := []types.NamespacedName{{Name: "a"}, {Name: "b"}}
			if err := s.read(append(append(changed("a"), changed("b")...), test.more...), all); err != nil {
				t.Fatal(err)
			}
			if got := s.exact(); got != test.wantExact {
				t.Errorf("exact is %t, want %t: routes %v, statuses %v", got, test.wantExact, s.routes, s.statuses)
			}
			if got := percentile(s.latency, 0.5); got != 2*time.Second {
				t.Errorf("the latency from spec to route is %s, want 2s", got)
			}
		})
	}
}

func TestShiftRequiresChangesInTheAuditLog(t *testing.T) {
	var s shift
	if err := s.read(nil, []types.NamespacedName{{Name: "a"}}); err == nil {
		t.Error("a change that is not in the audit log was counted")
	}
}

func TestReportFailsOnMissedLimits(t *testing.T) {
	exact := shift{routes: map[int]int{1: 0}, statuses: map[int]int{1: 0}}
	stray := []*request{newRequest(operatorUser, "patch", "httproutes", "", "a", 1)}
	fine := comparison{operator: 3 * time.Second, bareWritten: 2 * time.Second, bareSettled: 2 * time.Second}
	tests := map[string]struct {
		compared comparison
		stage    stage
		wantPass bool
	}{
		"all within limits": {compared: fine, stage: stage{services: sizeOfLimit, memory: memory{resident: limitMemory, peak: limitMemory}}, wantPass: true},
		"slow creation":     {compared: comparison{operator: 4 * time.Second, bareWritten: 2 * time.Second}, stage: stage{services: sizeOfLimit}},
		"settled write":     {compared: fine, stage: stage{services: sizeOfLimit, settled: stray}},
		"write on restart":  {compared: fine, stage: stage{services: sizeOfLimit, restarted: stray}},
		"write on resync":   {compared: fine, stage: stage{services: sizeOfLimit, resyncReconciliations: 1, resynced: stray}},
		"settled memory":    {compared: fine, stage: stage{services: sizeOfLimit, memory: memory{resident: limitMemory + 1}}},
		"peak memory":       {compared: fine, stage: stage{services: sizeOfLimit, memory: memory{peak: limitMemory + 1}}},
		"memory at restart": {compared: fine, stage: stage{services: sizeOfLimit, restartMemory: memory{peak: limitMemory + 1}}},
		"grown limits":      {compared: fine, stage: stage{services: sizeOfLimitGrown, memory: memory{peak: limitMemoryGrown}}, wantPass: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.stage.shift = exact
			r := &report{options: options{services: sizeOfLimit}, stages: []*stage{&test.stage}}
			r.creation([]comparison{test.compared})
			if got := r.passed(); got != test.wantPass {
				t.Errorf("passed is %t, want %t:\n%s", got, test.wantPass, r.markdown())
			}
			if missed := strings.Contains(r.markdown(), "**missed**"); missed == test.wantPass {
				t.Errorf("the table does not match:\n%s", r.markdown())
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(100-i))
	}
	for share, want := range map[float64]time.Duration{0: 1, 0.5: 51, 0.99: 100, 1: 100} {
		if got := percentile(all, share); got != want {
			t.Errorf("percentile %v is %d, want %d", share, got, want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("percentile of an empty list is %d, want 0", got)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
