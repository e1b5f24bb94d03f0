// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"time"
)

// goldenPlan is the policy of the scripts: 10 %, 50 %, then the promotion, each on proof.
var goldenPlan = Plan{
	Policy: "standard", Keep: 10 * time.Minute,
	Steps:    []Step{{Percent: 10, Hold: 5 * time.Minute}, {Percent: 50, Hold: 10 * time.Minute}},
	Evidence: &EvidenceRule{Proof: true, Timeout: 4 * time.Hour},
}

// automates returns a step in which a policy begins to apply.
func automates(at time.Duration, plan Plan) step {
	return edits(at, "applies a policy", func(s *spec) { s.Plan = &plan })
}

// commands returns a step in which the user tells the trial something.
func commands(at time.Duration, what string, change func(*Commands)) step {
	return edits(at, what, func(s *spec) { change(&s.Commands) })
}

// proves returns a step in which the metrics prove that the target is no worse at its share.
func proves(at time.Duration) step {
	return step{at: at, do: func(sim *simulation) {
		state, id := sim.state()
		sim.observeMetrics(fmt.Sprintf("prove that %s is no worse at %d %%", id, state.Trial.Share), func(e *Evidence) { e.prove(sim.now) })
	}}
}

// harms returns a step in which the metrics prove that the target is worse than allowed.
func harms(at time.Duration) step {
	return step{at: at, do: func(sim *simulation) {
		_, id := sim.state()
		sim.observeMetrics(fmt.Sprintf("prove that %s is worse than allowed", id), func(e *Evidence) { e.Harm = true })
	}}
}

// loses returns a step in which there are no metrics any more.
func loses(at time.Duration) step {
	return step{at: at, do: func(sim *simulation) {
		sim.observeMetrics("are unavailable", func(e *Evidence) { e.Missing = WaitsForMetrics })
	}}
}

// planScripts are the scripts with a policy, by the name of their golden file.
var planScripts = map[string]script{
	"automatic-promotion": {
		about: "A policy moves a good model to 10 %, 50 % and 100 %: each share is held, and the next one needs proof.",
		ends:  30 * time.Minute,
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			automates(0, goldenPlan),
			edits(2*time.Minute, "applies model b", model(2, nil)),
			kubectlGet(4 * time.Minute),
			proves(6 * time.Minute), // Before the end of the hold.
			kubectlGet(9 * time.Minute),
			proves(20 * time.Minute), // After it.
			kubectlGet(22 * time.Minute),
		},
	},
	"rejected-by-errors": {
		about: "A bad model loses its share in the decision that sees the evidence. Its pods stay for ten minutes. It is tried again on a retry only.",
		ends:  28 * time.Minute,
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			automates(0, goldenPlan),
			edits(2*time.Minute, "applies model b", model(2, nil)),
			harms(4 * time.Minute),
			kubectlGet(5 * time.Minute),
			kubectlGet(16 * time.Minute),
			edits(17*time.Minute, "sets other replicas", func(s *spec) { s.Replicas = Bounds{Min: 2, Max: 2} }),
			edits(19*time.Minute, "sets the replicas back", func(s *spec) { s.Replicas = Bounds{Min: 1, Max: 1} }),
			commands(21*time.Minute, "retries 2.1, which was the last attempt", func(c *Commands) { c.Retry = TrialID{2, 1} }),
			commands(22*time.Minute, "retries with 2.2", func(c *Commands) { c.Retry = TrialID{2, 2} }),
			kubectlGet(24 * time.Minute),
			commands(25*time.Minute, "aborts 2.2", func(c *Commands) { c.Abort = TrialID{2, 2} }),
		},
	},
	"gate": {
		about: "50 % and the promotion wait for approval. An approval of another trial or share does nothing, and a pause stops the next step.",
		ends:  32 * time.Minute,
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			automates(0, goldenPlan.with(func(p *Plan) { p.Evidence, p.Steps[1].Approve, p.ApprovePromotion = nil, true, true })),
			edits(2*time.Minute, "applies model b", model(2, nil)),
			commands(4*time.Minute, "approves 100 of 2.1 early", func(c *Commands) { c.Approve = Approval{TrialID{2, 1}, 100} }),
			kubectlGet(8 * time.Minute),
			commands(9*time.Minute, "approves 50 of 1.1", func(c *Commands) { c.Approve = Approval{TrialID{1, 1}, 50} }),
			commands(10*time.Minute, "approves 50 of 2.1", func(c *Commands) { c.Approve = Approval{TrialID{2, 1}, 50} }),
			kubectlGet(12 * time.Minute),
			commands(14*time.Minute, "pauses 2.1", func(c *Commands) { c.Pause = TrialID{2, 1} }),
			commands(22*time.Minute, "approves 100 of 2.1", func(c *Commands) { c.Approve = Approval{TrialID{2, 1}, 100} }),
			commands(24*time.Minute, "resumes 2.1", func(c *Commands) { c.Pause = TrialID{} }),
			kubectlGet(26 * time.Minute),
		},
	},
	"bake-undone": {
		about: "The previous revision keeps its replicas for an hour after the promotion. Harm undoes the promotion in one write.",
		ends:  32 * time.Minute,
		begin: func(sim *simulation) {
			sim.load = 3
			autoscaled(&sim.spec)
		},
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			automates(0, goldenPlan.with(func(p *Plan) { p.Evidence, p.Bake = nil, time.Hour })),
			edits(3*time.Minute, "applies model b", model(2, nil)),
			kubectlGet(24 * time.Minute),
			harms(28 * time.Minute),
			kubectlGet(29 * time.Minute),
		},
	},
	"prometheus-down": {
		about: "Prometheus is down in a step: the share is held, however long it takes, and nothing is rejected.",
		ends:  40 * time.Minute,
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			automates(0, goldenPlan),
			edits(2*time.Minute, "applies model b", model(2, nil)),
			loses(4 * time.Minute),
			kubectlGet(20 * time.Minute),
			proves(30 * time.Minute),
			kubectlGet(31 * time.Minute),
		},
	},
	"policy-deleted": {
		about: "The policy is deleted in a step: the share is held. It goes on when the policy is back. A percent ends the trial.",
		ends:  24 * time.Minute,
		steps: []step{
			edits(0, "applies model a", model(1, nil)),
			automates(0, goldenPlan.with(func(p *Plan) { p.Evidence = nil })),
			edits(2*time.Minute, "applies model b", model(2, nil)),
			edits(4*time.Minute, "deletes the policy", func(s *spec) { s.Plan = nil }),
			kubectlGet(12 * time.Minute),
			automates(13*time.Minute, goldenPlan.with(func(p *Plan) { p.Evidence = nil })),
			kubectlGet(14 * time.Minute),
			edits(15*time.Minute, "sets percent 30", percent(30)),
			edits(17*time.Minute, "removes the percent", percent(nil)),
			kubectlGet(18 * time.Minute),
		},
	},
}
