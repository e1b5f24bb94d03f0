// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"regexp"
	"strings"
)

var (
	podNames = regexp.MustCompile(`[a-z0-9.-]+-predictor-\d{5,}-deployment-[a-z0-9-]+`)
	uids     = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	// containerIDs matches digests of images too, which say what is meant.
	containerIDs = regexp.MustCompile(`\b(sha256:)?[0-9a-f]{64}\b`)
	quotaInUse   = regexp.MustCompile(`, used: [^ ]+, limited: `)
	// ephemeralPorts are our end of a connection, which is another one each time.
	ephemeralPorts = regexp.MustCompile(`:\d+->`)
)

// StableMessage takes out of a message of the cluster's what differs from one pod and one moment to the next: names of
// pods, UIDs, ids of containers, our end of a connection, and how much of a quota is in use. The same cause must read the
// same, or the status is written again and again.
func StableMessage(message string) string {
	message = podNames.ReplaceAllString(message, "…")
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
