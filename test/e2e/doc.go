// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e plays stories of canary releases with real pods behind a real
// gateway, while clients send requests without a pause.
//
// In every story no request fails, and no revision that was taken off the route
// gets one, unless the story says why and when. What the operator writes is held
// against the rules of package journal, too.
//
//	make e2e                                     # all scenarios
//	make e2e SCENARIOS=ci                        # those that CI plays
//	make e2e E2E_ARGS='-ginkgo.focus=promotion'  # some
//	make e2e E2E_ARGS=-update                    # all, and write docs/traffic.md
//
// CI plays the scenarios with the label ci. They cover each row of the contract's
// table that requests can show and these rules, in each mode, which
// TestScenariosForCI checks. A scenario names its rows in its text, and its rules
// in labels. Integration tests cover the rules about writes and messages.
//
//	1  Sum                     goes from 10 to 50 to 100 %
//	2  Ready only              begins with one revision; loses all pods; the stable is not ready
//	3  Capacity first          is rolled back after the promotion
//	4  Order                   is promoted on the pods that the canary has
//	5  No second load          is promoted on the pods that the canary has
//	6  Rejected stays rejected is superseded
//	7  Status is derived       the operator is killed twenty times
//
// It needs root on Linux: the cluster is a real node in namespaces of its own,
// see package local.
package e2e
