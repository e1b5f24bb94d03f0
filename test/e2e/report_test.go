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

// stories are those that have been played, with their places in the report.
var stories []placed

// placed is a story and where it stands in the code.
type placed struct {
	report.Story
	chapter string
	line    int
}

// chapters are what the stories are about, in the order of the report: Ginkgo plays them in any.
var chapters = []string{"the walkthrough", "a rollout", "a canary", "a rollout goes on", "a rollout under load"}

// inOrder lists the stories as they are told.
func inOrder() []report.Story {
	slices.SortFunc(stories, func(a, b placed) int {
		return cmp.Or(cmp.Compare(slices.Index(chapters, a.chapter), slices.Index(chapters, b.chapter)), cmp.Compare(a.line, b.line))
	})
	var told []report.Story
	for _, one := range stories {
		told = append(told, one.Story)
	}
	return told
}

var _ = ReportAfterSuite("the report", func(ctx SpecContext, _ Report) {
	if len(stories) == 0 {
		return
	}
	r := report.Report{
		Command: "make e2e E2E_ARGS=-update", Date: time.Now(), Machine: report.ThisMachine(), Stories: inOrder(),
		Versions: versions(ctx), Settings: settings(),
	}
	path := place("traffic.md")
	Expect(os.WriteFile(path, []byte(r.Markdown()), 0o644)).To(Succeed())
	tell(fmt.Sprintf("\nThe report is in %s.", path))
})

// place is where a part of the report goes: into docs/, or beside the logs.
func place(elements ...string) string {
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
	return fmt.Sprintf("The operator waits %s instead of 30 s before it scales a revision down that has no share any more, holds capacity for %s "+
		"instead of 5 min, and gives a revision up after %s instead of 10 min. Traefik's providersThrottleDuration is 100 ms instead of 2 s; "+
		"%s after it says that it has taken a route over, it must have. Clients send %d requests a second in each story.",
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
		case fields[0] == "containerd", fields[0] == "traefik", fields[0] == "metrics-server":
			all = append(all, report.Version{Name: fields[0], Version: fields[1]})
		}
	}
	return all
}
