// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/internal/backend"
)

const (
	// freeWrites is how often the same content is written without a pause. Some undone writes are
	// normal: users edit objects by hand.
	freeWrites = 4
	// firstPause doubles with each further write, up to longestPause.
	firstPause, longestPause = time.Second, 5 * time.Minute
	// memory is how long a write counts after its pause.
	memory = 10 * time.Minute
)

// repeats counts how often the same content was written to an object. Otherwise an admission policy
// that rewrites applied fields, or another controller, would make the operator write without end.
// Other content is never delayed: a new split is written at once.
//
// It also remembers writes that did not change the object. A newer Gateway API may add a default to
// a list that we compare exactly. Without this, each reconciliation would write such an object again.
//
// It only saves writes: after a restart, the count begins again. The zero value is ready to use.
type repeats struct {
	mu  sync.Mutex
	all map[Target]repeat
}

// Target identifies a written object.
type Target struct {
	Group, Kind string
	client.ObjectKey
}

// qualifiedKind returns the kind as kubectl needs it: other API groups have kinds with the names of
// Kubernetes' own.
func (t Target) qualifiedKind() string {
	if strings.HasSuffix(t.Group, ".knative.dev") {
		return t.Kind + "." + t.Group
	}
	return t.Kind
}

type repeat struct {
	content string
	writes  int
	last    time.Time
	contest backend.Contest
	// futile identifies the last write if it did not change the object: the version of the object and
	// the exact content.
	futile string
}

func (r repeat) isOver(now time.Time) bool { return now.After(r.last.Add(r.pause() + memory)) }

func (r repeat) pause() time.Duration {
	pause := time.Duration(0)
	for range r.writes - freeWrites + 1 {
		pause = min(max(2*pause, firstPause), longestPause)
	}
	return pause
}

// next returns when the content may be written again.
func (r repeat) next() time.Time { return r.last.Add(r.pause()) }

// ends returns when a writer that has left the content alone since then is no longer reported.
func (r repeat) ends() time.Time { return r.last.Add(2*r.pause() + firstPause) }

func (r *repeats) of(target Target, now time.Time) repeat {
	r.mu.Lock()
	defer r.mu.Unlock()
	if found := r.all[target]; !found.isOver(now) {
		return found
	}
	return repeat{}
}

// held reports whether the next write of the content has to wait.
func (r *repeats) held(target Target, content string, now time.Time) bool {
	entry := r.of(target, now)
	return entry.content == content && now.Before(entry.next())
}

// note counts a write of the content. It calls who once the same content was written too often.
func (r *repeats) note(target Target, content string, now time.Time, who func() backend.Contest) {
	entry := r.of(target, now)
	if entry.content != content {
		entry = repeat{content: content}
	}
	entry.writes++
	entry.last, entry.futile = now, ""
	if entry.writes >= freeWrites {
		entry.contest = who()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[Target]repeat{}
	}
	maps.DeleteFunc(r.all, func(_ Target, old repeat) bool { return old.futile == "" && old.isOver(now) })
	r.all[target] = entry
}

// noteFutile remembers that the last write did not change the object.
func (r *repeats) noteFutile(target Target, futile string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if entry, found := r.all[target]; found {
		entry.futile = futile
		r.all[target] = entry
	}
}

// isFutile reports whether the write is known to change nothing.
func (r *repeats) isFutile(target Target, futile string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[target].futile == futile
}

// contest returns which writer keeps undoing our writes to an object, and when we write again.
func (r *repeats) contest(target Target, now time.Time) (contest backend.Contest, entry bool) {
	repeat := r.of(target, now)
	if repeat.writes < freeWrites || !now.Before(repeat.ends()) {
		return backend.Contest{}, false
	}
	repeat.contest.RetryAt = repeat.next()
	if !now.Before(repeat.contest.RetryAt) {
		repeat.contest.RetryAt = repeat.ends()
	}
	return repeat.contest, true
}

// timestamps occur in our own annotations. If another writer removes one, the next decision sets it
// to another time.
var timestamps = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)

// contentOf returns the content of an intent without times.
func contentOf(intent *unstructured.Unstructured) string {
	bare := intent.DeepCopy()
	bare.SetResourceVersion("")
	annotations := bare.GetAnnotations()
	for key, value := range annotations {
		if strings.HasPrefix(key, OwnPrefix) {
			annotations[key] = WithoutTimes(value)
		}
	}
	bare.SetAnnotations(annotations)
	return encode(bare)
}

func encode(intent *unstructured.Unstructured) string {
	data, err := json.Marshal(intent.Object)
	if err != nil {
		return "" // The value comes from a conversion to JSON types.
	}
	return string(data)
}

// WithoutTimes removes timestamps from content that is compared over time.
func WithoutTimes(content string) string { return timestamps.ReplaceAllString(content, "") }

// difference returns the path of the first field of the intent, in alphabetical order, that the
// object lacks.
func difference(intent *unstructured.Unstructured, actual map[string]any, how Lists) []string {
	for _, part := range []string{"metadata", "spec"} {
		lists := how
		if part == "metadata" {
			lists = SharedLists
		}
		if path := lists.difference(actual[part], intent.Object[part]); path != nil {
			return append([]string{part}, path...)
		}
	}
	return nil
}

func (how Lists) difference(actual, desired any) []string {
	if how.Covers(actual, desired) {
		return nil
	}
	switch desired := desired.(type) {
	case map[string]any:
		actual, _ := actual.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(desired)) {
			if path := how.difference(actual[key], desired[key]); path != nil {
				return append([]string{key}, path...)
			}
		}
	case []any:
		actual, _ := actual.([]any)
		for i, element := range desired {
			var same any
			if i < len(actual) {
				same = actual[i]
			}
			name := elementName(element)
			for _, candidate := range actual {
				if name != "" && elementName(candidate) == name {
					same = candidate
				}
			}
			if path := how.difference(same, element); path != nil && name != "" {
				return append([]string{"[" + name + "]"}, path...)
			}
		}
	}
	return []string{}
}

func elementName(element any) string {
	fields, _ := element.(map[string]any)
	name, _ := fields["name"].(string)
	return name
}

func fieldOf(path []string) string {
	var field strings.Builder
	for _, step := range path {
		switch {
		case strings.HasPrefix(step, "["):
			field.WriteString(step)
		case strings.ContainsAny(step, "./"):
			field.WriteString("[" + step + "]")
		default:
			field.WriteString("." + step)
		}
	}
	return strings.TrimPrefix(field.String(), ".")
}

// otherWriter returns another field manager that owns the field, or else the one that has written
// last; empty if there is none.
func otherWriter(entries []metav1.ManagedFieldsEntry, path []string) string {
	latest := func(fits func(metav1.ManagedFieldsEntry) bool) string {
		var found metav1.ManagedFieldsEntry
		for _, entry := range entries {
			if entry.Manager != backend.FieldOwner && entry.Subresource == "" && fits(entry) && (found.Manager == "" || found.Time.Before(entry.Time)) {
				found = entry
			}
		}
		return found.Manager
	}
	if owner := latest(func(entry metav1.ManagedFieldsEntry) bool { return owns(entry, path) }); owner != "" {
		return fmt.Sprintf("the field manager %q", owner)
	}
	if last := latest(func(metav1.ManagedFieldsEntry) bool { return true }); last != "" {
		return fmt.Sprintf("another writer, probably the field manager %q", last)
	}
	return ""
}

// owns reports whether a field manager owns a field. It ignores list elements, which managed fields
// identify by keys.
func owns(entry metav1.ManagedFieldsEntry, path []string) bool {
	if entry.FieldsV1 == nil {
		return false
	}
	var fields map[string]any
	if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
		return false
	}
	for _, step := range path {
		if strings.HasPrefix(step, "[") {
			break
		}
		inner, found := fields["f:"+step].(map[string]any)
		if !found {
			return false
		}
		fields = inner
	}
	return true
}
