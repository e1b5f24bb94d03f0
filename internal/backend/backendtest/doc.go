// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package backendtest holds what every backend must do, whatever a revision is to it and however it splits traffic.
//
// A backend passes it with one test:
//
//	func TestContract(t *testing.T) { backendtest.Contract(t, newCluster) }
//
// where newCluster makes a [Cluster]: the backend in a cluster of its own, and the hands that do what users and the
// rest of a cluster do. The decisions are the core's own. What is particular to one backend, such as the objects that
// it writes, is tested beside it.
package backendtest
