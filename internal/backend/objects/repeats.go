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
	// freeWrites is how often the same content is written without a pause. People edit objects by hand.
	freeWrites = 4
	// firstPause doubles with each further write, up to longestPause.
	firstPause, longestPause = time.Second, 5 * time.Minute
	// memory is how long a write counts after its pause.
	memory = 10 * time.Minute
)

// repeats counts how often the same content was written to an object. An admission policy that rewrites what is applied,
// or another controller, would otherwise make the operator write without end. Other content is never held back: a new
// split is written at once.
//
// It saves work and decides nothing: after a restart the count begins anew. The zero value is ready to use.
type repeats struct {
	mu  sync.Mutex
	all map[Target]repeat
}

// Target names an object that is written.
type Target struct {
	Kind string
	client.ObjectKey
}

type repeat struct {
	content string
	writes  int
	last    time.Time
	contest backend.Contest
}

func (r repeat) pause() time.Duration {
	pause := time.Duration(0)
	for range r.writes - freeWrites + 1 {
		pause = min(max(2*pause, firstPause), longestPause)
	}
	return pause
}

// next is when the content may be written again.
func (r repeat) next() time.Time { return r.last.Add(r.pause()) }

// ends is when another writer is no longer reported that has left the content alone since.
func (r repeat) ends() time.Time { return r.last.Add(2*r.pause() + firstPause) }

func (r *repeats) of(target Target, now time.Time) repeat {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.all[target]
	if now.After(found.last.Add(found.pause() + memory)) {
		return repeat{}
	}
	return found
}

// held reports whether the content was written so often that it has to wait.
func (r *repeats) held(target Target, content string, now time.Time) bool {
	found := r.of(target, now)
	return found.content == content && now.Before(found.next())
}

// note counts a write of the content. The other writer is looked for, by who, once the same content has been written too
// often.
func (r *repeats) note(target Target, content string, now time.Time, who func() backend.Contest) {
	found := r.of(target, now)
	if found.content != content {
		found = repeat{content: content}
	}
	found.writes++
	found.last = now
	if found.writes >= freeWrites {
		found.contest = who()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[Target]repeat{}
	}
	maps.DeleteFunc(r.all, func(_ Target, old repeat) bool { return now.After(old.last.Add(old.pause() + memory)) })
	r.all[target] = found
}

// forget begins the count anew, for an object that we have deleted ourselves.
func (r *repeats) forget(target Target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, target)
}

// contest returns who keeps undoing what is written to an object, with when to look again.
func (r *repeats) contest(target Target, now time.Time) (contest backend.Contest, found bool) {
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

// timestamps are in annotations of our own. One that another writer has taken off is decided anew, with another time.
var timestamps = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)

// contentOf is what an intent says, without times.
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

// WithoutTimes takes times out of what is compared over time.
func WithoutTimes(content string) string { return timestamps.ReplaceAllString(content, "") }

// difference returns the first field of the intent that an object does not have, in the order of the alphabet.
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

func (how Lists) difference(actual, wanted any) []string {
	if how.Covers(actual, wanted) {
		return nil
	}
	switch wanted := wanted.(type) {
	case map[string]any:
		actual, _ := actual.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(wanted)) {
			if path := how.difference(actual[key], wanted[key]); path != nil {
				return append([]string{key}, path...)
			}
		}
	case []any:
		actual, _ := actual.([]any)
		for i, element := range wanted {
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

// fieldOf writes a path as people do.
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

// otherWriter returns the field manager that owns a field beside us, or else the one that has written last; empty where
// there is none.
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

// owns reports whether a field manager owns a field, as far as that can be told without the keys of lists.
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
