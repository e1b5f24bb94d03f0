// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"time"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/policy"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Automation is what moves the share of an InferenceService without a percent.
type Automation struct {
	// Plan is what the policy plans; nil if no policy applies. Commands are what people have told the
	// trial.
	Plan     *rollout.Plan
	Commands rollout.Commands
	Evidence rollout.Evidence
}

// PlanOf returns the plan of a policy for the core. parsed is nil if the policy has a problem. Pods
// get the default load deadline unless the policy has one.
func PlanOf(selection policy.Selection, parsed *policy.Plan, loadDeadline time.Duration) *rollout.Plan {
	if selection == (policy.Selection{}) {
		return nil
	}
	plan := &rollout.Plan{Invalid: true}
	if selection.Ref != (policy.Ref{}) {
		plan.Policy = selection.Ref.String()
	}
	if parsed == nil {
		return plan
	}
	plan.Invalid, plan.ApprovePromotion = false, parsed.ApprovePromotion
	plan.Bake, plan.Keep = parsed.Bake, parsed.KeepRejected
	plan.QueueDeadline, plan.LoadDeadline = parsed.QueueDeadline, parsed.LoadDeadline
	if plan.LoadDeadline == 0 {
		plan.LoadDeadline = loadDeadline
	}
	plan.Steps = parsed.Steps
	if analysis := parsed.Analysis; analysis != nil {
		plan.Evidence = &rollout.EvidenceRule{
			Proof: analysis.RequireProof, Timeout: analysis.Timeout, ProceedWithoutTraffic: analysis.ProceedWithoutTraffic,
		}
	}
	return plan
}

// CommandsOf returns the commands in the annotations of an InferenceService. Malformed ones are left
// out.
func CommandsOf(isvc *v1beta1.InferenceService) rollout.Commands {
	var commands rollout.Commands
	said, _ := policy.ParseIntents(isvc.Annotations)
	for _, intent := range said {
		id := intent.Trial
		switch intent.Verb {
		case policy.Abort:
			commands.Abort = id
		case policy.Pause:
			commands.Pause = id
		case policy.Promote:
			commands.Promote = id
		case policy.Approve:
			commands.Approve = rollout.Approval{Trial: id, Share: intent.Share}
		case policy.Retry:
			commands.Retry = id
		}
	}
	return commands
}
