// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/serinus-io/serinus/test/e2e/report"
)

// stories are those that have been played.
var stories []report.Story

var _ = ReportAfterSuite("the report", func(ctx SpecContext, _ Report) {
	if len(stories) == 0 {
		return
	}
	r := report.Report{
		Command: "make e2e E2E_ARGS=-update", Date: time.Now(), Machine: report.ThisMachine(), Stories: stories,
		Versions: versions(ctx),
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
