// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"regexp"
	"strings"
)

var (
	// podNames matches the names of pods and ReplicaSets. Knative puts a hash into the name of a Deployment that would be
	// longer than 63 characters.
	podNames = regexp.MustCompile(`[a-z0-9.-]+(-predictor-\d{5,}|[0-9a-f]{32})-deployment-[a-z0-9-]+`)
	// labels are the parts of host names and of the names of objects.
	labels = regexp.MustCompile(`[a-z0-9][a-z0-9-]*`)
	// cutNames matches what the API server keeps of a pod's generateName that is too long. An InferenceService's name is
	// short enough that at least «-pred» is left of the rest.
	cutNames = regexp.MustCompile(`-predictor-|-pred(i(c(t(or?)?)?)?)?$|[0-9a-f]{32}-deploy?m?$`)
	// wholeNames matches the names of objects that keep theirs.
	wholeNames = regexp.MustCompile(`(-predictor-\d{5,}|[0-9a-f]{32})(-deployment|-private)?$`)
	uids       = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	// containerIDs matches digests of images too, which say what is meant.
	containerIDs = regexp.MustCompile(`\b(sha256:)?[0-9a-f]{64}\b`)
	quotaInUse   = regexp.MustCompile(`, used: [^ ]+, limited: `)
	// ephemeralPorts are our end of a connection, which is another one each time.
	ephemeralPorts = regexp.MustCompile(`:\d+->`)
)

// The API server cuts a long generateName, and adds five characters to it: see SimpleNameGenerator of k8s.io/apiserver.
const (
	generatedLength = 63
	keptLength      = generatedLength - 5
)

// StableMessage takes out of a message of the cluster's what differs from one pod and one moment to the next: names of
// pods, UIDs, ids of containers, our end of a connection, and how much of a quota is in use. The same cause must read the
// same, or the status is written again and again.
func StableMessage(message string) string {
	message = podNames.ReplaceAllString(message, "…")
	message = labels.ReplaceAllStringFunc(message, func(name string) string {
		if len(name) == generatedLength && cutNames.MatchString(name[:keptLength]) && !wholeNames.MatchString(name) {
			return "…"
		}
		return name
	})
	message = uids.ReplaceAllString(message, "…")
	message = containerIDs.ReplaceAllStringFunc(message, func(id string) string {
		if strings.HasPrefix(id, "sha256:") {
			return id
		}
		return "…"
	})
	message = ephemeralPorts.ReplaceAllString(message, "->")
	message = quotaInUse.ReplaceAllString(message, ", limited: ")
	return strings.Join(strings.Fields(message), " ")
}
