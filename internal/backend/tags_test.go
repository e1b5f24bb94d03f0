// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"testing"

	"github.com/serinus-io/serinus/internal/rollout"
)

func TestTagsAreInAFixedOrder(t *testing.T) {
	got := TaggedRevisions(rollout.Tags{Latest: 2, Prev: 1})
	if len(got) != 2 || got[0] != (TaggedRevision{"latest", 2}) || got[1] != (TaggedRevision{"prev", 1}) {
		t.Errorf("tags are %v", got)
	}
	if got := TaggedRevisions(rollout.Tags{}); len(got) > 0 {
		t.Errorf("of no split, tags are %v", got)
	}
}
