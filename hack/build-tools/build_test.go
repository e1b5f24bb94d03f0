// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serinus-io/serinus/hack/builds"
)

const repository = "../.."

func TestCatalogIsPinned(t *testing.T) {
	for _, tool := range catalog {
		t.Run(tool.name, func(t *testing.T) {
			r, err := newRecipe(repository, "", tool)
			if err != nil {
				t.Fatal(err)
			}
			gomod, err := os.ReadFile(filepath.Join(repository, "hack", "tools", tool.set, "go.mod"))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(gomod), tool.pkg+"\n") {
				t.Errorf("go.mod has no tool directive for %s", tool.pkg)
			}
			if !strings.HasPrefix(r.version, "v") {
				t.Errorf("version %q is invalid", r.version)
			}
		})
	}
}

// Packages that the tools share with the operator are compiled only once if their modules have the
// same versions.
func TestToolsUseTheOperatorsModuleVersions(t *testing.T) {
	sharedModule := regexp.MustCompile(`^(k8s\.io/(api|apimachinery|client-go|apiserver|component-base|utils|klog/v2|kube-openapi)|` +
		`sigs\.k8s\.io/(json|randfill|structured-merge-diff/v6|yaml)|google\.golang\.org/(grpc|protobuf|genproto/\S+)|` +
		`go\.opentelemetry\.io/otel(/(trace|metric|sdk))?|golang\.org/x/(crypto|net|oauth2|sync|sys|term|text|time)|` +
		`github\.com/(fxamacker/cbor/v2|go-logr/logr|google/gnostic-models|prometheus/(client_golang|client_model|common|procfs)))$`)
	// Knative's programs panic if OpenTelemetry's schema version differs from the one in their
	// code.
	knativeExceptions := regexp.MustCompile(`^(go\.opentelemetry\.io|google\.golang\.org/(grpc|genproto)|github\.com/prometheus)/?`)
	operatorVersions := requirements(t, filepath.Join(repository, "go.mod"))
	files, err := filepath.Glob(filepath.Join(repository, "hack", "tools", "*", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, filepath.Join(repository, "charts", "go.mod")) {
		// The generators and the linter share little with the operator, and its versions must not
		// change their output.
		set := filepath.Base(filepath.Dir(file))
		if set == "codegen" || set == "lint" {
			continue
		}
		for module, version := range requirements(t, file) {
			if set == "knative" && knativeExceptions.MatchString(module) {
				continue
			}
			want, known := operatorVersions[module]
			if known && sharedModule.MatchString(module) && version != want {
				t.Errorf("%s requires %s %s, and the operator %s", file, module, version, want)
			}
		}
	}
}

func requirements(t *testing.T, file string) map[string]string {
	t.Helper()
	gomod, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for line := range strings.Lines(string(gomod)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && strings.HasPrefix(fields[1], "v") {
			versions[fields[0]] = fields[1]
		}
	}
	if len(versions) == 0 {
		t.Fatalf("%s requires nothing", file)
	}
	return versions
}

func TestKubernetesVersion(t *testing.T) {
	flags := linkerFlags(kubernetes("kubectl", 0), "v1.37.2")
	for _, want := range []string{"version.gitVersion=v1.37.2", "version.gitMajor=1 ", "version.gitMinor=37 "} {
		if !strings.Contains(flags, want) {
			t.Errorf("%q lacks %q", flags, want)
		}
	}
}

func TestRequiredVersion(t *testing.T) {
	gomod := "module x\n\nrequire one.test/a v1.0.0\n\nrequire (\n\ttwo.test/b v2.0.0 // indirect\n)\n\nreplace three.test/c => three.test/d v3.0.0\n"
	for module, want := range map[string]string{"one.test/a": "v1.0.0", "two.test/b": "v2.0.0", "three.test/c": ""} {
		got, err := requiredVersion([]byte(gomod), module)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v; want %q", module, got, err, want)
		}
	}
}

func TestSelectTools(t *testing.T) {
	selected, err := selectTools([]string{"kubectl", "etcd", "kubectl"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range selected {
		names = append(names, tool.name)
	}
	if diff := cmp.Diff([]string{"etcd", "kubectl"}, names); diff != "" {
		t.Errorf("wrong tools (-want +got):\n%s", diff)
	}
	if _, err := selectTools([]string{"kubeclt"}); err == nil || !strings.Contains(err.Error(), `no tool "kubeclt"; the tools are: etcd, `) {
		t.Errorf("got %v, want a list of the tools", err)
	}
}

func TestProductPaths(t *testing.T) {
	s := store{dir: "bin"}
	for name, want := range map[string]string{"etcd": "bin/tools/etcd", "manager": "bin/manager", "knative-ingress": "bin/tools/knative-ingress"} {
		selected, err := selectTools([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.product(selected[0]).Path; got != want {
			t.Errorf("%s goes to %s, want %s", name, got, want)
		}
	}
}

func fixture(t *testing.T) (*builder, tool) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "hack", "tools", "tiny")
	if err := os.CopyFS(dir, os.DirFS("testdata/tiny")); err != nil {
		t.Fatal(err)
	}
	// With the name go.mod, the folder would not belong to this repository's module.
	if err := os.Rename(filepath.Join(dir, "go.mod.txt"), filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	b := &builder{root: root, store: store{dir: filepath.Join(root, "bin")}, report: builds.NewReporter(devNull(t))}
	return b, tool{
		name: "tiny", set: "tiny", pkg: "tiny.test/tiny", module: "tiny.test/dependency",
		linkVars: func(version string) map[string]string { return map[string]string{"main.version": version} },
	}
}

func devNull(t *testing.T) *os.File {
	t.Helper()
	file, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func TestEnsureRebuildsOnChange(t *testing.T) {
	b, tiny := fixture(t)
	ensure := func() os.FileInfo {
		t.Helper()
		if err := b.ensureAll(t.Context(), []tool{tiny}); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(b.store.product(tiny).Path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := ensure()
	out, err := exec.Command(b.store.product(tiny).Path).Output()
	if got, want := string(out), "version v1.2.3\n"; got != want || err != nil {
		t.Errorf("the program printed %q, %v; want %q", got, err, want)
	}
	if again := ensure(); !os.SameFile(first, again) {
		t.Error("the tool was built again without a change")
	}
	gosum := filepath.Join(b.root, "hack", "tools", "tiny", "go.sum")
	if err := os.WriteFile(gosum, []byte("\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if changed := ensure(); os.SameFile(first, changed) {
		t.Error("the tool was not built again after a change of its modules")
	}
	if err := os.Remove(b.store.product(tiny).Path); err != nil {
		t.Fatal(err)
	}
	ensure()
}

func TestEnsureBuildsSet(t *testing.T) {
	b, tiny := fixture(t)
	second := tiny
	second.name, second.pkg = "another-name", "tiny.test/tiny/second"
	source, err := os.ReadFile(filepath.Join(b.root, "hack", "tools", "tiny", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(b.root, "hack", "tools", "tiny", "second")
	source = bytes.ReplaceAll(source, []byte(`"version"`), []byte(`"second version"`))
	if err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, "main.go"), source, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := b.ensureAll(t.Context(), []tool{tiny, second}); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{"tiny": "version v1.2.3\n", "another-name": "second version v1.2.3\n"} {
		out, err := exec.Command(filepath.Join(b.store.dir, "tools", program)).Output()
		if got := string(out); got != want || err != nil {
			t.Errorf("%s printed %q, %v; want %q", program, got, err, want)
		}
	}
	left, err := filepath.Glob(filepath.Join(b.store.product(tiny).Private, "together-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("leftover files: %v (%v)", left, err)
	}
}

func TestEnsureBuildsSlimModules(t *testing.T) {
	b, tiny := fixture(t)
	tiny.slim = []string{"tiny.test/dependency"}
	dir := filepath.Join(b.root, "hack", "tools", "tiny")
	for name, content := range map[string]string{
		"main.go": `package main

import (
	"fmt"

	"tiny.test/dependency"
	"tiny.test/dependency/big"
	"tiny.test/dependency/big/kind"
)

func main() { fmt.Print(dependency.Kept, dependency.File, big.Package, kind.Below) }
`,
		"dependency/go.mod":           "module tiny.test/dependency\n\ngo 1.26.0\n",
		"dependency/kept.go":          "package dependency\n\nconst Kept = \"kept \"\n",
		"dependency/file.go":          "package dependency\n\nconst File = \"the original file \"\n",
		"dependency/big/big.go":       "package big\n\nimport \"not.there/at/all\"\n",
		"dependency/big/kind/kind.go": "package kind\n\nimport \"not.there/at/all\"\n",

		"_slim/tiny.test/dependency/file.go":          "package dependency\n\nconst File = \"file \"\n",
		"_slim/tiny.test/dependency/big/slim.go":      "package big\n\nconst Package = \"package \"\n",
		"_slim/tiny.test/dependency/big/kind/slim.go": "package kind\n\nconst Below = \"below\"\n",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	wantOutput := func(want string) {
		t.Helper()
		if err := b.ensureAll(t.Context(), []tool{tiny}); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(b.store.product(tiny).Path).Output()
		if got := string(out); got != want || err != nil {
			t.Errorf("the program printed %q, %v; want %q", got, err, want)
		}
	}
	wantOutput("kept file package below")

	replacement := filepath.Join(dir, "_slim", "tiny.test", "dependency", "file.go")
	if err := os.WriteFile(replacement, []byte("package dependency\n\nconst File = \"other file \"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	wantOutput("kept other file package below")

	if err := os.Rename(replacement, filepath.Join(filepath.Dir(replacement), "unknown.go")); err != nil {
		t.Fatal(err)
	}
	if err := b.ensureAll(t.Context(), []tool{tiny}); err == nil || !strings.Contains(err.Error(), "unknown.go replaces no file of its module") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

func TestFailedBuildLeavesNoFiles(t *testing.T) {
	b, tiny := fixture(t)
	source := filepath.Join(b.root, "hack", "tools", "tiny", "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { nonsense() }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := b.ensureAll(t.Context(), []tool{tiny})
	if err == nil || !strings.Contains(err.Error(), "undefined: nonsense") {
		t.Errorf("got %v, want the compiler's message", err)
	}
	product := b.store.product(tiny)
	left, err := filepath.Glob(filepath.Join(product.Private, "tiny.*"))
	if _, statErr := os.Stat(product.Path); !os.IsNotExist(statErr) || err != nil || len(left) != 1 || !strings.HasSuffix(left[0], ".lock") {
		t.Errorf("leftover files: %v (%v), program: %v", left, err, statErr)
	}
}

func TestExplain(t *testing.T) {
	for output, want := range map[string]string{
		"write $WORK/b001: no space left on device":                "the disk is full",
		"compile: signal: killed":                                  "4 GB are needed",
		"Get \"https://proxy.test\": dial tcp: connection refused": "GOPROXY",
		"go.mod requires go >= 1.30 (running go 1.26)":             "install a newer Go",
	} {
		if err := explain(recipe{}, output, errors.New("exit status 1")); !strings.Contains(err.Error(), want) {
			t.Errorf("explain(%q) = %v, want %q in it", output, err, want)
		}
	}
}
