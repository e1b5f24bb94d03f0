// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Number numbers the revisions of one predictor, from 1 on. 0 is no revision.
type Number int

// Share is the part of the requests, in percent, that one revision gets.
type Share struct {
	Revision Number
	Percent  int
}

// Split says which revision gets what share of the requests. It is empty, or its shares sum to 100: there is no way
// to make one that does not. A share of 0 is a statement too: that revision is offered traffic and gets none now.
//
// The zero value is the empty split, which serves nobody.
type Split struct {
	shares []Share // Newest revision first, each revision once.
}

// NewSplit makes a split of the shares, in any order. It refuses shares that do not sum to 100, are not from 0 to
// 100, or name a revision twice or none.
func NewSplit(shares ...Share) (Split, error) {
	if len(shares) == 0 {
		return Split{}, nil
	}
	sorted := slices.Clone(shares)
	slices.SortFunc(sorted, func(a, b Share) int { return int(b.Revision - a.Revision) })
	sum := 0
	for i, share := range sorted {
		switch {
		case share.Revision < 1:
			return Split{}, fmt.Errorf("a split names revision %d; revisions are numbered from 1", share.Revision)
		case i > 0 && sorted[i-1].Revision == share.Revision:
			return Split{}, fmt.Errorf("a split names revision %d twice", share.Revision)
		case share.Percent < 0 || share.Percent > 100:
			return Split{}, fmt.Errorf("a split gives revision %d a share of %d; a share is from 0 to 100", share.Revision, share.Percent)
		}
		sum += share.Percent
	}
	if sum != 100 {
		return Split{}, fmt.Errorf("a split sums to %d; it must sum to 100", sum)
	}
	return Split{shares: sorted}, nil
}

// All gives everything to one revision.
func All(n Number) Split {
	return Split{shares: []Share{{Revision: n, Percent: 100}}}
}

// between gives the canary its percent, and the stable the rest.
func between(canary Number, percent int, stable Number) Split {
	split, err := NewSplit(Share{canary, percent}, Share{stable, 100 - percent})
	if err != nil {
		panic(err) // Only a percent out of bounds gets here, and Decide takes none.
	}
	return split
}

// Shares lists the shares, the newest revision first.
func (s Split) Shares() []Share { return slices.Clone(s.shares) }

// IsEmpty tells whether nobody is served.
func (s Split) IsEmpty() bool { return len(s.shares) == 0 }

// Has tells whether the revision is offered traffic, be it 0 %.
func (s Split) Has(n Number) bool {
	return slices.ContainsFunc(s.shares, func(share Share) bool { return share.Revision == n })
}

// isShared tells whether more than one revision gets requests.
func (s Split) isShared() bool {
	return !s.IsEmpty() && !slices.ContainsFunc(s.shares, func(share Share) bool { return share.Percent == 100 })
}

// Percent is the revision's share; 0 when it is not in the split.
func (s Split) Percent(n Number) int {
	for _, share := range s.shares {
		if share.Revision == n {
			return share.Percent
		}
	}
	return 0
}

// highest is the newest revision in the split; 0 when nobody is.
func (s Split) highest() Number {
	if s.IsEmpty() {
		return 0
	}
	return s.shares[0].Revision
}

// Equal tells whether both name the same revisions with the same shares.
func (s Split) Equal(other Split) bool { return slices.Equal(s.shares, other.shares) }

// String prints the split as people say it: «2:10 1:90», and «none» for the empty one.
func (s Split) String() string {
	if s.IsEmpty() {
		return "none"
	}
	words := make([]string, len(s.shares))
	for i, share := range s.shares {
		words[i] = fmt.Sprintf("%d:%d", share.Revision, share.Percent)
	}
	return strings.Join(words, " ")
}

// MarshalJSON writes the split as an object from revision to percent: {"1":90,"2":10}.
func (s Split) MarshalJSON() ([]byte, error) {
	byRevision := make(map[Number]int, len(s.shares))
	for _, share := range s.shares {
		byRevision[share.Revision] = share.Percent
	}
	return json.Marshal(byRevision)
}

// UnmarshalJSON reads what MarshalJSON wrote, and refuses what NewSplit refuses.
func (s *Split) UnmarshalJSON(data []byte) error {
	var byRevision map[Number]int
	if err := json.Unmarshal(data, &byRevision); err != nil {
		return err
	}
	shares := make([]Share, 0, len(byRevision))
	for revision, percent := range byRevision {
		shares = append(shares, Share{revision, percent})
	}
	split, err := NewSplit(shares...)
	if err != nil {
		return err
	}
	*s = split
	return nil
}
