// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/knative"
)

type mode = v1beta1.DeploymentMode

const (
	inStandard = v1beta1.DeploymentModeStandard
	inKnative  = v1beta1.DeploymentModeKnative
)

// modes are the modes of a scenario unless a comment on it gives the reason for only one.
var modes = []mode{inStandard, inKnative}

// describeInModes registers scenarios in each of the given modes. The report has one section per
// mode.
func describeInModes(subject string, in []mode, body func(mode)) bool {
	for _, m := range in {
		Describe(sectionOf(m), func() {
			Describe(subject, func() { body(m) })
		})
	}
	return true
}

func sectionOf(m mode) string { return string(m) + " mode" }

// revisionLabel returns the pod label that names the revision. Pods of revisions that KServe
// created have only Knative's label.
func revisionLabel(m mode) string {
	if m == inKnative {
		return knative.RevisionLabel
	}
	return v1beta1.LabelRevision
}
