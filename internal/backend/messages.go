// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"regexp"
	"strings"
)

var (
	// podNames matches the names of pods and ReplicaSets. Knative puts a hash into a Deployment
	// name that would be longer than 63 characters.
	podNames = regexp.MustCompile(`[a-z0-9.-]+(-predictor-\d{5,}|[0-9a-f]{32})-deployment-[a-z0-9-]+`)
	// labels matches the labels of host names and the names of objects.
	labels = regexp.MustCompile(`[a-z0-9][a-z0-9-]*`)
	// cutNames matches a pod's generateName as truncated by the API server. The name of an
	// InferenceService is short enough that at least «-pred» remains.
	cutNames = regexp.MustCompile(`-predictor-|-pred(i(c(t(or?)?)?)?)?$|[0-9a-f]{32}-deploy?m?$`)
	// wholeNames matches names of objects that are not truncated.
	wholeNames = regexp.MustCompile(`(-predictor-\d{5,}|[0-9a-f]{32})(-deployment|-private)?$`)
	uids       = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	// containerIDs also matches image digests, which must stay in the message.
	containerIDs = regexp.MustCompile(`\b(sha256:)?[0-9a-f]{64}\b`)
	quotaInUse   = regexp.MustCompile(`, used: [^ ]+, limited: `)
	// ephemeralPorts matches the client port of a connection, which differs each time.
	ephemeralPorts = regexp.MustCompile(`:\d+->`)
)

// The API server truncates a long generateName and adds five characters. See SimpleNameGenerator in
// k8s.io/apiserver.
const (
	generatedLength = 63
	keptLength      = generatedLength - 5
)

// StableMessage removes what differs between pods and moments from a message of the cluster: pod
// names, UIDs, container IDs, client ports, and the used part of a quota. The same cause must have
// the same message, or the status would be written again and again.
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
