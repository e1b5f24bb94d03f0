// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package evidence turns what package metricsource reads into the verdict of package analysis, for
// the analysis that package policy has resolved. It does not access the cluster or Prometheus.
//
// [TrialFor] says what to read, and [Judge] computes the verdict from all that has been read. The
// verdict depends on nothing else, so a restarted operator reaches the same one from the history of
// Prometheus. The phi and the bucket bound of each metric come from the hour before the trial.
//
// What Prometheus cannot tell, the caller must keep in the rollout state: when the trial began, when
// the canary got its shares, and the analysis with which the trial began (see [Continue]).
package evidence
