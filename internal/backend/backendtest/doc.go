// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package backendtest contains the tests that every backend must pass, independent of its workloads
// and routes.
//
// A backend needs one test function:
//
//	func TestContract(t *testing.T) { backendtest.Contract(t, newCluster) }
//
// The function newCluster returns a [Cluster]: the backend in a new cluster, and the driver that
// simulates users and other controllers. The decisions are those of package rollout. What is
// specific to one backend, such as its objects, is tested in its own package.
package backendtest
