// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/serinus-io/serinus/test/e2e/report"
)

// stories are those that have been played, with their places in the code.
var finished []finishedScenario

type finishedScenario struct {
	report.Scenario
	spec SpecReport
}

// chapter is the heading that a story comes under, and subject what it is about.
func (p finishedScenario) section() string { return p.spec.ContainerHierarchyTexts[0] }
func (p finishedScenario) subject() string { return p.spec.ContainerHierarchyTexts[1] }

// subjects are what the stories are about, in the order of the report: Ginkgo plays them in any.
var subjects = []string{
	"the walkthrough", "a rollout", "a canary", "a service that may scale to zero", "a service of KServe's", "a rollout goes on", "a rollout under load",
}

// chapters are the stories as they are told.
func sections() []report.Section {
	slices.SortFunc(finished, func(a, b finishedScenario) int {
		return cmp.Or(
			cmp.Compare(slices.Index(subjects, a.subject()), slices.Index(subjects, b.subject())),
			cmp.Compare(a.spec.LeafNodeLocation.LineNumber, b.spec.LeafNodeLocation.LineNumber),
		)
	})
	all := []report.Section{{Title: sectionOf(inStandard)}, {Title: sectionOf(inKnative)}, {Title: kserveSection, Text: kserveText}}
	for i := range all {
		for _, one := range finished {
			if one.section() == all[i].Title {
				all[i].Scenarios = append(all[i].Scenarios, one.Scenario)
			}
		}
	}
	return slices.DeleteFunc(all, func(c report.Section) bool { return len(c.Scenarios) == 0 })
}

var _ = ReportAfterSuite("the report", func(ctx SpecContext, _ Report) {
	if len(finished) == 0 {
		return
	}
	r := report.Report{
		Command: "make e2e E2E_ARGS=-update", Date: time.Now(), Machine: report.ThisMachine(), Sections: sections(),
		Versions: versions(ctx), Settings: settings(),
	}
	path := reportPath("traffic.md")
	Expect(os.WriteFile(path, []byte(r.Markdown()), 0o644)).To(Succeed())
	tell(fmt.Sprintf("\nThe report is in %s.", path))
})

// place is where a part of the report goes: into docs/, or beside the logs.
func reportPath(elements ...string) string {
	top := root.Path("bin", "e2e", "report")
	if *update {
		top = root.Path("docs")
	}
	path := filepath.Join(append([]string{top}, elements...)...)
	Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
	return path
}

// settings are what was set otherwise than by default.
func settings() string {
	return fmt.Sprintf("The operator waits %s instead of 60 s before it scales a revision down that has no share any more, holds capacity for %s "+
		"instead of 5 min, and gives a revision up after %s instead of 10 min. Traefik's providersThrottleDuration is 100 ms instead of 2 s; "+
		"%s after it says that it has taken a route over, or the last of those that it looks at together, it must have. "+
		"Knative's stable-window and scale-to-zero-grace-period are 6 s instead of 60 s and 30 s, its mesh-compatibility-mode is disabled. "+
		"Clients send %d requests a second in each story.",
		drainPeriod, capacityHold, progressDeadline, gatewayLag, rate)
}

// versions are of what took part.
func versions(ctx context.Context) []report.Version {
	var all []report.Version
	list := exec.CommandContext(ctx, "go", "run", "./hack/build-tools", "-list")
	list.Dir = string(root)
	out, err := list.Output()
	Expect(err).NotTo(HaveOccurred())
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2:
		case fields[0] == "kubelet":
			all = append(all, report.Version{Name: "Kubernetes", Version: fields[1]})
		case fields[0] == "knative-controller":
			all = append(all, report.Version{Name: "Knative Serving", Version: fields[1]})
		case fields[0] == "containerd", fields[0] == "traefik", fields[0] == "metrics-server":
			all = append(all, report.Version{Name: fields[0], Version: fields[1]})
		}
	}
	return all
}
