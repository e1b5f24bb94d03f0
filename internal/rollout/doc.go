// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rollout decides which revision of a predictor gets which share of the traffic, and which
// revisions run.
//
// [Decide] is a pure function from a [Snapshot] of the observed state, and the time, to a
// [Decision] about the desired state. The caller carries the decision out, observes again and
// decides again. Everything that a later decision needs is in the rollout state ([State]), which
// is written together with the weights. An operator that stops between any two writes, or decides
// twice, loses nothing and repeats nothing.
//
// # States
//
// T is the target, the revision that the spec asks for. S is the stable, the revision that was
// promoted last. V is the previous stable. p is canaryTrafficPercent. A split is written «2:10
// 1:90».
//
//	 #  situation                                                  split            S  V
//	 1  first deployment, T=1 not ready                            none             -  -
//	 2  first deployment, T=1 ready, any p                         1:100            1  -
//	 3  T=2 not ready, any p                                       1:100            1  -
//	 4  T=2 ready, p=10                                            2:10 1:90        1  -
//	 5  p changes to 50                                            2:50 1:50        1  -
//	 6  p absent, T=2 ready: promotion                             2:100            2  1
//	 7  p=100, T=2 ready: promotion too                            2:100            2  1
//	 8  p=0 while 2 is a canary                                    2:0 1:100        1  -
//	 9  p becomes 0 after the promotion of 2                       2:0 1:100        1  -
//	9b  p becomes 0 after the promotion of 2, with other labels    1:100, 3:0 1:100 1  -
//	10  p becomes 10 after the promotion of 2                      2:10 1:90        1  -
//	11  p becomes <100 after a promotion, no V is left             2:100            2  -
//	12  2 is a canary, T=3 not ready                               1:100 at once    1  -
//	13  then 3 ready, p=30                                         3:30 1:70        1  -
//	14  2 was rolled back, T=3 p=20 not ready, then ready          1:100, 3:20 1:80 1  -
//	15  2 is a canary, the spec returns to 1                       1:100 at once    1  -
//	16  S=2, 3 is a canary at 10, the spec returns to 2, p stays   2:100            2  1
//	17  T=2 never becomes ready, any p                             1:100            1  -
//	18  canary 2 loses every ready pod; back once it has one       2:0 1:100        1  -
//	19  canary ready, stable not                                   unchanged        1  -
//	20  tag routing is on: tag hosts point at the revisions of the split
//	21  a share would go to a stable that cannot serve             unchanged        1  -
//	22  T is unschedulable, and the strategy allows it: S makes room, then T takes its place
//
// # Rules
//
// A split is empty or sums to 100. Only a revision that can serve gets weight, but the stable keeps
// its share while it cannot serve. A share grows only when its revision has the replicas for it,
// and these replicas are then held against the autoscaler. A workload is scaled down only when no
// route points at it, and after the drain period. A revision that was rejected, by a percent of 0
// or by another target, gets traffic again only when the spec asks for it again. A spec that cannot
// be resolved moves no traffic.
//
// # Plans
//
// Without a percent, the [Plan] of a policy decides what is asked of the target now. A trial of the
// target goes through the steps of the plan. It asks for the next share once the hold of its share
// is over, the [Evidence] is sufficient, and the share is approved, if the plan requires these.
// Otherwise it asks for the share that it has reached.
//
//	a percent, from 0 to 100                                   no trial: the table above
//	no plan and no trial                                       promotion: rows 6 and 7
//	the plan is gone or cannot be used, or a pause             the share stays
//	harm, an abort, or a target that does not become ready     rejected: 2:0 1:100, then 1:100
//	another target                                             row 12, and a trial of its own
//	the promotion, with a bake                                 2:100, and V stays loaded
//	harm or an abort in the bake                               rejected, and V is the stable again
//	V's spec in the bake                                       V is the stable again
//
// The share that a trial has reached is not the share that is asked for, which may wait for replicas,
// and not the share of the split, which is 0 while the target has lost its pods. A rejected revision
// gets a share again only if a person retries it, or sets a percent above 0. The rejection is also
// kept in the revision history, and a lost state takes it from there. A lost trial begins again, as
// another attempt, at the share that the target has. It never promotes.
//
// Commands and evidence name a trial, such as 2.1, and have no effect on any other.
//
// # Example
//
// Revision 1 serves all traffic: the rollout state has S=1 T=1, and the split is 1:100. The user
// applies another model with p=10. Its hash is new, so the decision is to create revision 2 and to
// run it. The split stays, and the state has T=2 p=10. When the pods of 2 are ready, the split
// becomes 2:10 1:90. The user removes p. When 2 has as many ready replicas as all traffic needs,
// the split becomes 2:100, with S=2 V=1 in the same write. When the gateway has accepted it, 1 is
// drained, scaled down and deleted, but stays in the revision history. The user sets p=0. The
// percent has changed from absent, the target is the stable, and V=1 can be brought back, so S
// becomes 1 at once. The split stays 2:100 until 1 is ready again. Then it becomes 2:0 1:100.
package rollout
