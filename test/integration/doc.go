// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package integration tests the operator on a real etcd and kube-apiserver.
//
// Each scenario has its own namespace, operator and fake controllers. It can restart, disconnect or
// crash its operator without affecting other scenarios, which may run in parallel (ginkgo -p). The
// operator has only the rights of its ServiceAccount. Scenarios that run the manager command, which
// acts on all namespaces, are serial.
//
//   - Package fakecluster has the fake controllers. Scenarios inject failures and delays into them.
//   - Package wire intercepts the operator's requests. It records the writes, injects faults, and
//     delays watch events.
//   - Package watchrecorder records all changes in the namespace in the API server's order. At the
//     end of each scenario it checks the rules that hold at every moment. A failed scenario prints
//     the recorded changes.
//
// KUBEBUILDER_ASSETS must name a folder with etcd, kube-apiserver and kubectl. The target
// test-integration of the Makefile builds them.
package integration
