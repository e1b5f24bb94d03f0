// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"net/http"
	"regexp"
)

// ServedByHeader holds the name of the pod that gave an answer.
const ServedByHeader = "X-Served-By"

// revisionPod is the name of a revision's pod. What follows the number is not
// looked at further: Kubernetes cuts it off where the whole would be too long.
var revisionPod = regexp.MustCompile(`^([a-z0-9][-a-z0-9]*-predictor-[0-9]{5,})-[a-z0-9][-a-z0-9]*$`)

// ServedBy is the revision of the pod that the header X-Served-By names.
func ServedBy(answer *http.Response, _ []byte) string {
	return RevisionOfPod(answer.Header.Get(ServedByHeader))
}

// RevisionOfPod takes sklearn-iris-predictor-00001 from
// sklearn-iris-predictor-00001-deployment-7965bcc66-grdbq, and nothing from other names.
func RevisionOfPod(pod string) string {
	if match := revisionPod.FindStringSubmatch(pod); match != nil {
		return match[1]
	}
	return ""
}
