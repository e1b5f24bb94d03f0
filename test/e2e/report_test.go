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

var finished []finishedScenario

type finishedScenario struct {
	report.Scenario
	spec SpecReport
}

// section returns the heading of the scenario's section, and subject the text of its container.
func (f finishedScenario) section() string { return f.spec.ContainerHierarchyTexts[0] }
func (f finishedScenario) subject() string { return f.spec.ContainerHierarchyTexts[1] }

// subjects is the order of the scenarios in the report. Ginkgo runs them in random order.
var subjects = []string{
	"the walkthrough", "a rollout", "a canary", "a service that may scale to zero", "a service created by KServe", "a rollout continues", "a rollout under load",
	"a model that leaves no room for another on its node", "a model that serves gRPC", "a model with a second port",
}

func sections() []report.Section {
	slices.SortFunc(finished, func(a, b finishedScenario) int {
		return cmp.Or(
			cmp.Compare(slices.Index(subjects, a.subject()), slices.Index(subjects, b.subject())),
			cmp.Compare(a.spec.LeafNodeLocation.LineNumber, b.spec.LeafNodeLocation.LineNumber),
		)
	})
	all := []report.Section{{Title: sectionOf(inStandard)}, {Title: sectionOf(inKnative)}, {Title: kserveSection, Text: kserveText}}
	for i := range all {
		for _, f := range finished {
			if f.section() == all[i].Title {
				all[i].Scenarios = append(all[i].Scenarios, f.Scenario)
			}
		}
	}
	return slices.DeleteFunc(all, func(s report.Section) bool { return len(s.Scenarios) == 0 })
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
	printProgress(fmt.Sprintf("\nThe report is in %s.", path))
})

// reportPath returns the path of a part of the report: in docs/ with -update, otherwise next to the
// logs.
func reportPath(elements ...string) string {
	top := root.Path("bin", "e2e", "report")
	if *update {
		top = root.Path("docs")
	}
	path := filepath.Join(append([]string{top}, elements...)...)
	Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
	return path
}

func settings() string {
	return fmt.Sprintf("The operator's drainPeriod is %s instead of 60 s, its capacityHold %s instead of 5 min, and its progressDeadline "+
		"%s instead of 10 min. Traefik's providersThrottleDuration is 100 ms instead of 2 s. "+
		"Traefik must serve a route %s after it reports the last route of a batch as accepted. "+
		"Knative's stable-window and scale-to-zero-grace-period are 6 s instead of 60 s and 30 s, and its mesh-compatibility-mode is disabled. "+
		"Clients send %d requests per second in each scenario.",
		drainPeriod, capacityHold, progressDeadline, gatewayLag, rate)
}

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
