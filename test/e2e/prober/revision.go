// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"net/http"
	"regexp"
)

// ServedByHeader is the header with the name of the pod that sent the response.
const ServedByHeader = "X-Served-By"

// revisionPod matches the names of a revision's pods. It does not check the suffix, because
// Kubernetes truncates long names.
var revisionPod = regexp.MustCompile(`^([a-z0-9][-a-z0-9]*-predictor-[0-9]{5,})-[a-z0-9][-a-z0-9]*$`)

// ServedBy returns the revision of the pod that the header X-Served-By names.
func ServedBy(response *http.Response, _ []byte) string {
	return RevisionOfPod(response.Header.Get(ServedByHeader))
}

// RevisionOfPod returns the revision of a pod: sklearn-iris-predictor-00001 for
// sklearn-iris-predictor-00001-deployment-7965bcc66-grdbq. It returns "" for other names.
func RevisionOfPod(pod string) string {
	if match := revisionPod.FindStringSubmatch(pod); match != nil {
		return match[1]
	}
	return ""
}
