// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package analysis decides from counters whether a canary is worse than allowed. It only computes:
// the same inputs give the same verdict, on every replica of the operator and after every restart.
//
// # The idea
//
// An e-value is the gain of a bet against a hypothesis, such as "the canary fails at most 1.5 times
// as often as the stable". While the hypothesis is true, no bet has an expected gain above 1. The
// product of the bets on successive intervals has the same property, so by Ville's inequality it
// ever exceeds 1/α with probability at most α. Looking often costs nothing, and no number of
// intervals has to be chosen in advance.
//
// The bet on one interval is a likelihood ratio: of the trials, successes have a property whose
// probability is at most p0, and the bet is that its odds are r times as high:
//
//	ln e = successes·ln r − trials·ln(1 + (r−1)·p0)
//
// To compare the canary with the stable, the trials are the bad responses of both revisions in the
// interval, and the successes are those of the canary. If both revisions fail at the same rate, the
// canary has the share of the bad responses that it has of the requests. The share is taken from
// the counts, so neither a change of the traffic split nor an outage of both revisions is evidence.
// To compare the canary with a fixed rate, the trials are the requests of the canary.
//
// Harm is a mixture of bets on several r, each of which begins at every interval with some of the
// capital. This finds a regression that begins late almost as fast as one that begins at once. A cap
// on the gain of one interval prevents one scrape from rejecting a canary. Harm considers all
// intervals of a trial.
//
// Proof is the opposite bet, that the canary is better than the worst allowed. It begins anew at
// each share, and has no cap.
//
// The bets assume independent responses. Real failures come in bursts, so [Phi] estimates from the
// history of the stable how much more its counts vary than independent responses would, and
// [Evaluate] divides all counts by it.
//
// # What is guaranteed
//
// If the canary is never worse than allowed, the probability that [Evaluate] ever reports harm in a
// rollout is at most 1 − confidence, over all shares, looks and metrics. Three things are outside
// the guarantee: phi is an estimate; HarmLimits.Max does not compare with the stable; and after the
// promotion the comparison is with the history of the previous revision.
//
// # References
//
//   - J. Ville, Étude critique de la notion de collectif, 1939: the inequality.
//   - S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, Time-uniform, nonparametric, nonasymptotic
//     confidence sequences, Annals of Statistics 49, 2021: tests and intervals that are valid at all
//     times.
//   - M. Lindon, C. Sanden, V. Shirikian, Rapid regression detection in software deployments through
//     sequential testing, KDD 2022; M. Lindon, A. Malek, Anytime-valid inference for multinomial
//     count data, NeurIPS 2022: their use for canary releases, with counts per interval.
//   - R. Turner, A. Ly, P. Grünwald, Generic E-variables for exact sequential k-sample tests that
//     allow for optional stopping, Journal of Statistical Planning and Inference 230, 2024: 2×2
//     tables.
package analysis
