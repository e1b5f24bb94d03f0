// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package local runs a Kubernetes cluster of its own on the loopback
// interface: for the demo, for benchmarks and to play with.
//
//	c, err := local.Start(ctx, local.Options{Level: local.Simulated})
//	if err != nil { … }
//	defer c.Stop()
//
// Nothing needs root, nothing is reachable from outside, and nothing is left
// behind: every process dies with the program that started it, however that
// program ends. The programs come from hack/build-tools.
//
// A level says how much of a cluster there is. A new level is one more line in
// the table of levels, made of parts, each of which starts one thing and waits
// until it works.
package local
