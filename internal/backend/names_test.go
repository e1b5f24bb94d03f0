// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

func TestNamesOfRevisions(t *testing.T) {
	for n, want := range map[rollout.Number]string{
		1:       "sklearn-iris-predictor-00001",
		42:      "sklearn-iris-predictor-00042",
		99_999:  "sklearn-iris-predictor-99999",
		100_000: "sklearn-iris-predictor-100000",
	} {
		if got := backend.RevisionName("sklearn-iris", n); got != want {
			t.Errorf("revision %d is called %q, want %q", n, got, want)
		}
	}
}

func TestNumbersOfOtherNames(t *testing.T) {
	for _, name := range []string{
		"",
		"sklearn-iris-predictor",
		"sklearn-iris-predictor-",
		"sklearn-iris-predictor-1",
		"sklearn-iris-predictor-0001",
		"sklearn-iris-predictor-000001",
		"sklearn-iris-predictor-00000",
		"sklearn-iris-predictor--0001",
		"sklearn-iris-predictor-+0001",
		"sklearn-iris-predictor-0x001",
		"sklearn-iris-predictor-00001-deployment",
		"sklearn-iris-predictor-99999999999999999999",
		"x-sklearn-iris-predictor-00001",
		"sklearn-predictor-00001",
	} {
		if got := backend.RevisionNumber("sklearn-iris", name); got != 0 {
			t.Errorf("%q is taken for revision %d", name, got)
		}
	}
}

func TestNumbersAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		isvc := rapid.StringMatching(`[a-z]([-a-z0-9]{0,20}[a-z0-9])?`).Draw(t, "name")
		n := rollout.Number(rapid.IntRange(1, 1<<31-1).Draw(t, "number"))
		if got := backend.RevisionNumber(isvc, backend.RevisionName(isvc, n)); got != n {
			t.Errorf("revision %d is read back as %d", n, got)
		}
	})
}

func TestConflictError(t *testing.T) {
	for _, test := range []struct {
		err  backend.ConflictError
		want string
	}{
		{
			backend.ConflictError{Kind: "Service", Namespace: "ns", Name: "iris", Owner: "Deployment web"},
			`Service "iris" in namespace "ns" is controlled by Deployment web, so it is left alone; delete it (kubectl delete -n ns service iris), or give the InferenceService another name`,
		},
		{
			backend.ConflictError{Kind: "HTTPRoute", Namespace: "ns", Name: "iris"},
			`HTTPRoute "iris" in namespace "ns" is not controlled by this InferenceService, so it is left alone; delete it (kubectl delete -n ns httproute iris), or give the InferenceService another name`,
		},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("message is\n  %s\nwant\n  %s", got, test.want)
		}
	}
}
