// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewSplit(t *testing.T) {
	tests := map[string]struct {
		shares    []Share
		want      string
		wantError string
	}{
		"none":                {nil, "none", ""},
		"all to one":          {[]Share{{1, 100}}, "1:100", ""},
		"newest first":        {[]Share{{1, 90}, {2, 10}}, "2:10 1:90", ""},
		"a share of 0":        {[]Share{{2, 0}, {1, 100}}, "2:0 1:100", ""},
		"three":               {[]Share{{1, 50}, {3, 25}, {2, 25}}, "3:25 2:25 1:50", ""},
		"less than 100":       {[]Share{{1, 90}, {2, 9}}, "", "a split sums to 99; it must sum to 100"},
		"more than 100":       {[]Share{{1, 100}, {2, 1}}, "", "a split sums to 101; it must sum to 100"},
		"only 0":              {[]Share{{1, 0}}, "", "a split sums to 0; it must sum to 100"},
		"a share below 0":     {[]Share{{1, 101}, {2, -1}}, "", "a split gives revision 2 a share of -1; a share is from 0 to 100"},
		"a share above 100":   {[]Share{{2, 101}, {1, -1}}, "", "a split gives revision 2 a share of 101; a share is from 0 to 100"},
		"a revision twice":    {[]Share{{1, 50}, {1, 50}}, "", "a split names revision 1 twice"},
		"revision 0":          {[]Share{{0, 100}}, "", "a split names revision 0; revisions are numbered from 1"},
		"a negative revision": {[]Share{{1, 50}, {-1, 50}}, "", "a split names revision -1; revisions are numbered from 1"},
		"numbers that overflow": {
			[]Share{{math.MaxInt, 50}, {math.MinInt, 50}}, "", "a split names revision -9223372036854775808; revisions are numbered from 1",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			arguments := append([]Share{}, test.shares...)
			split, err := NewSplit(test.shares...)
			if diff := cmp.Diff(arguments, append([]Share{}, test.shares...)); diff != "" {
				t.Errorf("the arguments have changed:\n%s", diff)
			}
			if test.wantError != "" {
				if err == nil || err.Error() != test.wantError || !split.IsEmpty() {
					t.Fatalf("split %s, error %v, want error %q", split, err, test.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := split.String(); got != test.want {
				t.Errorf("split is %s, want %s", got, test.want)
			}
			var decoded Split
			data, err := json.Marshal(split)
			if err == nil {
				err = json.Unmarshal(data, &decoded)
			}
			if err != nil || !decoded.Equal(split) {
				t.Errorf("%s is encoded as %s and decoded as %s: %v", split, data, decoded, err)
			}
		})
	}
}

func TestSplitAnswers(t *testing.T) {
	canary := split(t, Share{1, 90}, Share{2, 10})
	withoutShare := split(t, Share{1, 100}, Share{2, 0})
	tests := map[string]struct {
		split              Split
		empty, shared      bool
		has2               bool
		percent1, percent2 int
		highest            Number
	}{
		"none":         {split: Split{}, empty: true},
		"all":          {split: All(1), percent1: 100, highest: 1},
		"a canary":     {split: canary, shared: true, has2: true, percent1: 90, percent2: 10, highest: 2},
		"a share of 0": {split: withoutShare, has2: true, percent1: 100, highest: 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := test.split
			if s.IsEmpty() != test.empty || s.isShared() != test.shared || s.Has(2) != test.has2 || s.Has(3) ||
				s.Percent(1) != test.percent1 || s.Percent(2) != test.percent2 || s.Percent(3) != 0 || s.highest() != test.highest {
				t.Errorf("%s: empty %t, shared %t, has 2 %t and 3 %t, 1 gets %d, 2 gets %d, highest %d",
					s, s.IsEmpty(), s.isShared(), s.Has(2), s.Has(3), s.Percent(1), s.Percent(2), s.highest())
			}
			for other := range tests {
				if same := s.Equal(tests[other].split); same != (other == name) {
					t.Errorf("equal to %s: %t", tests[other].split, same)
				}
			}
			if shares := s.Shares(); len(shares) > 0 {
				shares[0].Percent = 7
				if s.Percent(s.highest()) == 7 {
					t.Error("a change of the returned shares changes the split")
				}
			}
		})
	}
}

// TestLatestAndPrev checks the columns LATESTREADYREVISION and PREVROLLEDOUTREVISION.
func TestLatestAndPrev(t *testing.T) {
	canary := split(t, Share{1, 90}, Share{2, 10})
	tests := map[string]struct {
		split        Split
		target       Number
		latest, prev Number
	}{
		"no split":                          {Split{}, 1, 0, 0},
		"the target alone":                  {All(1), 1, 1, 0},
		"the target is not in the split":    {All(1), 2, 1, 0},
		"a canary":                          {canary, 2, 2, 1},
		"a canary that is rolled back":      {split(t, Share{1, 100}, Share{2, 0}), 2, 2, 1},
		"a return to an older revision":     {canary, 1, 1, 2},
		"a canary that was just superseded": {canary, 3, 2, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			latest, prev := Latest(test.split, test.target), Prev(test.split, test.target)
			if latest != test.latest || prev != test.prev {
				t.Errorf("latest is %d and prev %d, want %d and %d", latest, prev, test.latest, test.prev)
			}
			if got, want := TagsOf(test.split, test.target), (Tags{Latest: test.latest, Prev: test.prev}); got != want {
				t.Errorf("tags are %+v, want %+v", got, want)
			}
		})
	}
}

// TestTags: if tag routing is on, tag hosts point at the revisions of the desired split.
func TestTags(t *testing.T) {
	observed := newSnapshot(rolloutState(1, 0, 2, new(10), All(1)), 2, new(10), up(1), up(2))
	if got := Decide(observed, testPolicy, testNow).Tags; got != (Tags{}) {
		t.Errorf("tags are %+v without tag routing", got)
	}
	observed.Desired.Tagged = true
	if got, want := Decide(observed, testPolicy, testNow).Tags, (Tags{Latest: 2, Prev: 1}); got != want {
		t.Errorf("tags are %+v, want %+v", got, want)
	}
	observed.Desired.Stopped = true
	if got := Decide(observed, testPolicy, testNow).Tags; got != (Tags{}) {
		t.Errorf("tags are %+v when the service is stopped", got)
	}
}

func TestInvalidSplitIsNotDecoded(t *testing.T) {
	for name, test := range map[string]struct{ data, want string }{
		"a sum below 100":                 {`{"1":99}`, "a split sums to 99; it must sum to 100"},
		"a string":                        {`"1:100"`, "json: cannot unmarshal string into Go value of type map[rollout.Number]int"},
		"a revision that is not a number": {`{"one":100}`, "json: cannot unmarshal number one into Go value of type rollout.Number"},
		"a fraction":                      {`{"1":99.5,"2":0.5}`, "json: cannot unmarshal number 99.5 into Go value of type int"},
	} {
		t.Run(name, func(t *testing.T) {
			decoded := All(7)
			err := json.Unmarshal([]byte(test.data), &decoded)
			if err == nil || err.Error() != test.want {
				t.Errorf("error is %v, want %q", err, test.want)
			}
			if !decoded.Equal(All(7)) {
				t.Errorf("the split becomes %s", decoded)
			}
		})
	}
}

func TestCanarySplitPanicsOnInvalidPercent(t *testing.T) {
	for _, percent := range []int{-1, 101} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a canary of %d %% has a split", percent)
				}
			}()
			canarySplit(2, percent, 1)
		}()
	}
}
