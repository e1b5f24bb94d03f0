// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package local runs local Kubernetes clusters for the demo, benchmarks and experiments.
//
//	c, err := local.Start(ctx, local.Options{Level: local.Simulated})
//	if err != nil { … }
//	defer c.Stop()
//
// A cluster listens on the loopback interface only. Its processes die with the program that started
// them, even if that program is killed. hack/build-tools builds the programs.
//
// A level determines which parts of a cluster run. The levels control-plane and simulated do not
// need root. To add a level, add a line to the table levels. Each part in that table starts one
// component and waits until it is ready.
package local
