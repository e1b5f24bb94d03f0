// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/knative"
)

// mode is how the predictors of a story are run.
type mode = v1beta1.DeploymentMode

const (
	inStandard = v1beta1.DeploymentModeStandard
	inKnative  = v1beta1.DeploymentModeKnative
)

// modes are those in which a story is told that says why not in the other.
var modes = []mode{inStandard, inKnative}

// told has stories about something told in each of some modes. The chapters of the report are by mode.
func told(about string, in []mode, tell func(mode)) bool {
	for _, m := range in {
		Describe(chapterOf(m), func() {
			Describe(about, func() { tell(m) })
		})
	}
	return true
}

// chapterOf is the heading of the stories in a mode.
func chapterOf(m mode) string { return string(m) + " mode" }

// revisionLabel is the label by which pods name their revision. Those that KServe has left have Knative's alone.
func revisionLabel(m mode) string {
	if m == inKnative {
		return knative.RevisionLabel
	}
	return v1beta1.LabelRevision
}
