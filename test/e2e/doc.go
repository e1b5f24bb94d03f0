// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e runs canary releases with real pods behind a real gateway while clients send requests
// continuously.
//
// Each scenario checks that no request fails and that no revision without a share receives a
// request. Exceptions are declared with a reason and a period. Package watchrecorder checks the
// objects that the operator writes.
//
//	make e2e                                     # all scenarios
//	make e2e SCENARIOS=ci                        # the scenarios that run in CI
//	make e2e E2E_ARGS='-ginkgo.focus=promotion'  # some scenarios
//	make e2e E2E_ARGS=-update                    # all scenarios; also writes docs/traffic.md
//
// CI runs the scenarios with the label ci. In each mode they cover all rows of the contract's table
// that are visible in traffic, and the rules below. TestScenariosForCI checks the coverage. A
// scenario names its rows in its text and its rules in labels. Integration tests cover the rules
// about writes and messages.
//
//	1  Sum                     goes from 10 to 50 to 100 %
//	2  Ready only              starts with one revision; loses all ready pods; the stable is not ready
//	3  Capacity first          is rolled back after the promotion
//	4  Order                   promotes the canary without replacing its pods
//	5  No second load          promotes the canary without replacing its pods
//	6  Rejected stays rejected is superseded
//	7  Status is derived       the operator is killed twenty times
//
// The tests need root on Linux: the cluster is a real node in its own namespaces (see package
// local).
package e2e
