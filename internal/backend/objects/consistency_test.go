// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

var (
	iris = Target{Kind: "HTTPRoute", ObjectKey: client.ObjectKey{Name: "iris"}}
	rose = Target{Kind: "HTTPRoute", ObjectKey: client.ObjectKey{Name: "rose"}}
)

func TestWritesAreAwaitedUntilTheCacheShowsThem(t *testing.T) {
	tests := map[string]struct {
		written, seen string
		want          bool
	}{
		"nothing was written":         {"", "7", false},
		"the cache is older":          {"10", "9", true},
		"the cache has nothing yet":   {"10", "", true},
		"the cache shows it":          {"10", "10", false},
		"written by another writer":   {"10", "11", false},
		"a longer version is newer":   {"99", "100", false},
		"versions that have no order": {"b", "a", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var known Consistency
			if test.written != "" {
				known.NoteWritten(iris, test.written)
			}
			if got := known.IsBehind(iris, test.seen); got != test.want {
				t.Errorf("at %q, %q is awaited: %t", test.seen, test.written, got)
			}
			if known.IsBehind(rose, "1") {
				t.Error("an object that was not written is awaited")
			}
		})
	}
}

func TestWritesAreForgottenOnceSeen(t *testing.T) {
	var known Consistency
	known.NoteWritten(iris, "10")
	known.NoteWritten(rose, "10")
	if known.IsBehind(iris, "10") {
		t.Fatal("a version that the cache shows is awaited")
	}
	known.Forget(rose)
	for _, key := range []Target{iris, rose} {
		if known.IsBehind(key, "") {
			t.Errorf("%v, which is gone since, is awaited", key)
		}
	}
}
