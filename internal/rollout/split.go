// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Number is the number of a revision, from 1 on. 0 stands for no revision.
type Number int

// Share is the percentage of the traffic that a revision gets.
type Share struct {
	Revision Number
	Percent  int
}

// Split maps revisions to their shares of the traffic. It is empty, or its shares sum to 100. A
// split can name a revision with a share of 0.
//
// The zero value is the empty split, by which no revision serves.
type Split struct {
	shares []Share // Newest revision first, each revision once.
}

// NewSplit returns a split with the given shares, in any order. It returns an error if the shares
// do not sum to 100, if a share is not from 0 to 100, if a revision is named twice, or if a number
// is less than 1. Without shares it returns the empty split.
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

// All returns the split that gives 100 % to one revision.
func All(n Number) Split {
	return Split{shares: []Share{{Revision: n, Percent: 100}}}
}

func canarySplit(canary Number, percent int, stable Number) Split {
	split, err := NewSplit(Share{canary, percent}, Share{stable, 100 - percent})
	if err != nil {
		panic(err) // Decide only passes a percent from 0 to 100.
	}
	return split
}

// Shares returns the shares, newest revision first.
func (s Split) Shares() []Share { return slices.Clone(s.shares) }

// IsEmpty reports whether the split names no revision.
func (s Split) IsEmpty() bool { return len(s.shares) == 0 }

// Has reports whether the split names the revision, even with a share of 0.
func (s Split) Has(n Number) bool {
	return slices.ContainsFunc(s.shares, func(share Share) bool { return share.Revision == n })
}

func (s Split) isShared() bool {
	return !s.IsEmpty() && !slices.ContainsFunc(s.shares, func(share Share) bool { return share.Percent == 100 })
}

// Percent returns the revision's share. It is 0 if the split does not name the revision.
func (s Split) Percent(n Number) int {
	for _, share := range s.shares {
		if share.Revision == n {
			return share.Percent
		}
	}
	return 0
}

func (s Split) highest() Number {
	if s.IsEmpty() {
		return 0
	}
	return s.shares[0].Revision
}

// Equal reports whether both splits name the same revisions with the same shares.
func (s Split) Equal(other Split) bool { return slices.Equal(s.shares, other.shares) }

// String formats the split as «2:10 1:90», and the empty split as «none».
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

// MarshalJSON encodes the split as an object from revision to percent: {"1":90,"2":10}.
func (s Split) MarshalJSON() ([]byte, error) {
	byRevision := make(map[Number]int, len(s.shares))
	for _, share := range s.shares {
		byRevision[share.Revision] = share.Percent
	}
	return json.Marshal(byRevision)
}

// UnmarshalJSON decodes what MarshalJSON encodes. It returns an error for shares that NewSplit
// refuses.
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
