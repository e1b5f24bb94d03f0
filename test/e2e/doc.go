// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e plays stories of canary releases with real pods behind a real
// gateway, while clients send requests without a pause.
//
// In every story no request fails, and no revision that was taken off the route
// gets one, unless the story says why and when. What the operator writes is held
// against the rules of package journal, too.
//
//	make e2e                                     # all stories
//	make e2e E2E_ARGS='-ginkgo.focus=promotion'  # some
//	make e2e E2E_ARGS=-update                    # all, and write docs/traffic.md
//
// It needs root on Linux: the cluster is a real node in namespaces of its own,
// see package local.
package e2e
