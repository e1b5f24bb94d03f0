// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

type tool struct {
	name string
	// set is the folder below hack/tools whose go.mod pins the program. It is empty for this
	// repository's programs.
	set string
	// pkg is the package to build. module is the module whose version is the program's version.
	pkg, module string
	linkVars    func(version string) map[string]string
	// slim lists modules in which files of the set's folder _slim replace packages and files.
	slim []string
	// helper reports whether users do not call this repository's program. It is then built into
	// bin/tools.
	helper bool
	// takes is the approximate build time on two cores, after the builds of the tools before it in
	// the catalog.
	takes time.Duration
}

var catalog = []tool{
	{
		name: "etcd", set: "etcd",
		pkg: "go.etcd.io/etcd/server/v3", module: "go.etcd.io/etcd/server/v3",
		takes: 50 * time.Second,
	},
	kubernetes("kube-apiserver", 4*time.Minute),
	kubernetes("kubectl", 10*time.Second),
	kubernetes("kube-controller-manager", 45*time.Second),
	kubernetes("kube-scheduler", 5*time.Second),
	kubernetes("kubelet", 25*time.Second),
	kubernetes("kube-proxy", 10*time.Second),
	containerd("containerd", 30*time.Second),
	containerd("containerd-shim-runc-v2", 5*time.Second),
	containerd("ctr", 5*time.Second),
	{
		name: "coredns", set: "coredns",
		pkg: "github.com/coredns/coredns", module: "github.com/coredns/coredns",
		takes: 45 * time.Second,
	},
	{
		name: "metrics-server", set: "metrics-server",
		pkg: "sigs.k8s.io/metrics-server/cmd/metrics-server", module: "sigs.k8s.io/metrics-server",
		takes: 10 * time.Second,
	},
	{
		name: "fake-gcs-server", set: "fake-gcs-server",
		pkg: "github.com/fsouza/fake-gcs-server", module: "github.com/fsouza/fake-gcs-server",
		takes: time.Minute,
	},
	{
		name: "versitygw", set: "versitygw",
		pkg: "github.com/versity/versitygw/cmd/versitygw", module: "github.com/versity/versitygw",
		takes: 40 * time.Second,
	},
	{
		name: "kwok", set: "kwok",
		pkg: "sigs.k8s.io/kwok/cmd/kwok", module: "sigs.k8s.io/kwok",
		takes: 15 * time.Second,
	},
	{
		name: "traefik", set: "traefik",
		pkg: "github.com/traefik/traefik/v3/cmd/traefik", module: "github.com/traefik/traefik/v3",
		slim: []string{
			"github.com/traefik/traefik/v3", "github.com/go-acme/lego/v4", "go.opentelemetry.io/contrib/bridges/otellogrus",
		},
		linkVars: func(version string) map[string]string {
			return map[string]string{"github.com/traefik/traefik/v3/pkg/version.Version": strings.TrimPrefix(version, "v")}
		},
		takes: 75 * time.Second,
	},
	knative("controller", 40*time.Second),
	knative("webhook", 5*time.Second),
	knative("activator", 5*time.Second),
	knative("autoscaler", 5*time.Second),
	knative("queue", 5*time.Second),
	{
		name: "golangci-lint", set: "lint",
		pkg: "sigs.k8s.io/kube-api-linter/cmd/golangci-lint-kube-api-linter", module: "github.com/golangci/golangci-lint/v2",
		takes: 3 * time.Minute,
	},
	{
		name: "gofumpt", set: "lint",
		pkg: "mvdan.cc/gofumpt", module: "mvdan.cc/gofumpt",
		takes: 2 * time.Second,
	},
	{
		name: "kustomize", set: "deploy",
		pkg: "sigs.k8s.io/kustomize/kustomize/v5", module: "sigs.k8s.io/kustomize/kustomize/v5",
		takes: 10 * time.Second,
	},
}

// own lists this repository's programs. They are always compiled, because only the compiler knows
// whether they are out of date. They are built into bin, unless they are helpers.
var own = []tool{
	{
		name: "cluster", pkg: "./test/cluster",
		takes: 30 * time.Second,
	},
	{
		name: "knative-ingress", pkg: "./test/knative/ingress/controller", helper: true,
		takes: 10 * time.Second,
	},
	{
		name: "manager", pkg: "./cmd/manager",
		linkVars: func(version string) map[string]string { return map[string]string{"main.version": version} },
		takes:    time.Minute,
	},
}

func kubernetes(name string, takes time.Duration) tool {
	return tool{
		name: name, set: "kubernetes",
		pkg: "k8s.io/kubernetes/cmd/" + name, module: "k8s.io/kubernetes",
		linkVars: func(version string) map[string]string {
			const pkg = "k8s.io/component-base/version."
			major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
			minor, _, _ := strings.Cut(rest, ".")
			return map[string]string{
				pkg + "gitVersion":   version,
				pkg + "gitMajor":     major,
				pkg + "gitMinor":     minor,
				pkg + "gitTreeState": "clean",
				pkg + "gitCommit":    "",
			}
		},
		takes: takes,
	}
}

func containerd(name string, takes time.Duration) tool {
	const module = "github.com/containerd/containerd/v2"
	return tool{
		name: name, set: "containerd",
		pkg: module + "/cmd/" + name, module: module,
		linkVars: func(version string) map[string]string { return map[string]string{module + "/version.Version": version} },
		takes:    takes,
	}
}

func knative(command string, takes time.Duration) tool {
	const module = "knative.dev/serving"
	return tool{name: "knative-" + command, set: "knative", pkg: module + "/cmd/" + command, module: module, takes: takes}
}

func selectTools(names []string) ([]tool, error) {
	if len(names) == 0 {
		return catalog, nil
	}
	known := slices.Concat(catalog, own)
	for _, name := range names {
		if !slices.ContainsFunc(known, func(t tool) bool { return t.name == name }) {
			return nil, fmt.Errorf("there is no tool %q; the tools are: %s", name, strings.Join(toolNames(known), ", "))
		}
	}
	var selected []tool
	for _, t := range known {
		if slices.Contains(names, t.name) {
			selected = append(selected, t)
		}
	}
	return selected, nil
}

func toolNames(tools []tool) []string {
	names := make([]string, 0, len(tools))
	for _, t := range tools {
		names = append(names, t.name)
	}
	return names
}
