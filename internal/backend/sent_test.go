// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import "testing"

func TestWritesAreAwaitedUntilTheCacheShowsThem(t *testing.T) {
	tests := map[string]struct {
		written, seen string
		want          bool
	}{
		"nothing was written":         {"", "7", false},
		"the cache is older":          {"10", "9", true},
		"the cache has nothing yet":   {"10", "", true},
		"the cache shows it":          {"10", "10", false},
		"somebody has written since":  {"10", "11", false},
		"a longer version is newer":   {"99", "100", false},
		"versions that have no order": {"b", "a", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var sent SentVersions[string]
			if test.written != "" {
				sent.Note("iris", test.written)
			}
			if got := sent.Awaited("iris", test.seen); got != test.want {
				t.Errorf("at %q, %q is awaited: %t", test.seen, test.written, got)
			}
			if sent.Awaited("rose", "1") {
				t.Error("an object that was not written is awaited")
			}
		})
	}
}

func TestWritesAreForgottenOnceSeen(t *testing.T) {
	var sent SentVersions[string]
	sent.Note("iris", "10")
	sent.Note("rose", "10")
	if sent.Awaited("iris", "10") {
		t.Fatal("a version that the cache shows is awaited")
	}
	sent.Forget("rose")
	for _, key := range []string{"iris", "rose"} {
		if sent.Awaited(key, "") {
			t.Errorf("%s, which is gone since, is awaited", key)
		}
	}
}
