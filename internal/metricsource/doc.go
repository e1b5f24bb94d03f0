// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metricsource reads the counters of the stable and of the canary from Prometheus.
//
// # Presets
//
// A [Preset] says which series count the requests, the bad responses and the latency of a revision
// in one kind of software, such as a gateway or a model server. Its selectors contain the
// placeholders $namespace, $revision and $pods, which are replaced by escaped values.
//
// # Raw samples
//
// The package asks for raw samples: `selector[range]` as an instant query. PromQL's increase()
// extrapolates, and does not count what a series had when it was born, such as a canary's first
// errors. One query covers both revisions and both kinds of counters of a metric; each series of the
// response is matched against the selectors again to find out what it counts.
//
// # Failures
//
// Whatever is not a complete and plausible response is a [Failure], and never a number: a policy
// must neither reject nor promote because of Prometheus.
//
// # Gatherer
//
// The [Gatherer] queries in the background, at fixed times that depend only on the beginning of a
// trial and its interval. So a restarted operator looks at the same times, and reads from the
// history of Prometheus what it missed. Reconciliations only read its last verdict.
package metricsource
