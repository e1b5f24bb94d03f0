// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func at(uid types.UID, version string) *v1beta1.InferenceService {
	return &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{UID: uid, ResourceVersion: version}}
}

func TestOwnWritesAreAwaitedUntilTheCacheShowsThem(t *testing.T) {
	tests := map[string]struct {
		written, seen string
		want          bool
	}{
		"older":                    {written: "10", seen: "9", want: true},
		"the same":                 {written: "10", seen: "10"},
		"newer":                    {written: "10", seen: "11"},
		"longer is newer":          {written: "99", seen: "100"},
		"versions without order":   {written: "b", seen: "a"},
		"nothing that was written": {seen: "9"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var writes ownWrites
			if test.written != "" {
				writes.note(at("1", test.written))
			}
			if got := writes.awaited("1", test.seen); got != test.want {
				t.Errorf("awaited is %t, want %t", got, test.want)
			}
			if writes.awaited("2", "1") {
				t.Error("another InferenceService is waited for")
			}
		})
	}
}

func TestOwnWritesAreForgottenOnceSeen(t *testing.T) {
	var writes ownWrites
	writes.note(at("1", "10"))
	writes.awaited("1", "10")
	writes.versions.Range(func(uid, version any) bool {
		t.Errorf("%v at %v is remembered", uid, version)
		return true
	})
}
