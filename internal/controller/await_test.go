// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lateReader answers the first lists with errs.
type lateReader struct {
	client.Reader
	errs []error
	// finalErr answers every list once errs are used up.
	finalErr error
}

func (r *lateReader) List(context.Context, client.ObjectList, ...client.ListOption) error {
	if len(r.errs) == 0 {
		return r.finalErr
	}
	err := r.errs[0]
	r.errs = r.errs[1:]
	return err
}

func TestAwaitCRDs(t *testing.T) {
	noMatch := &apimeta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "serving.kserve.io", Kind: "InferenceService"}}
	notFound := apierrors.NewNotFound(schema.GroupResource{Group: "serving.kserve.io", Resource: "inferenceservices"}, "")
	tests := map[string]struct {
		given    lateReader
		want     string
		wantTime time.Duration
	}{
		"all CRDs are served":        {},
		"a CRD was created just now": {given: lateReader{errs: []error{noMatch, notFound}}, wantTime: 2 * crdPollInterval},
		"its storage is initialized": {given: lateReader{errs: []error{apierrors.NewTooManyRequests("storage is (re)initializing", 1)}}, wantTime: crdPollInterval},
		"no CRD is installed":        {given: lateReader{finalErr: noMatch}, want: "install the CRDs first", wantTime: crdTimeout},
		"the API server refuses":     {given: lateReader{finalErr: errors.New("forbidden")}, want: "forbidden"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				err := AwaitCRDs(t.Context(), &test.given)
				if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
					t.Errorf("AwaitCRDs() = %v, want an error with %q", err, test.want)
				}
				if waited := time.Since(begin); waited != test.wantTime {
					t.Errorf("it took %s, want %s", waited, test.wantTime)
				}
			})
		})
	}
}
