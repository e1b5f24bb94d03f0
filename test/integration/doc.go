// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package integration runs the operator on a real etcd and kube-apiserver and tells stories about it: what a user
// does, what goes wrong, and what everybody sees.
//
// Each story has a namespace, an operator and peers of its own, so that it can restart, cut off or kill its operator
// without harm to others, and stories can be told side by side (ginkgo -p). The operator runs with the rights of the
// ServiceAccount that it has in a cluster, and no more. Those stories that run the operator's own command, which looks
// at all namespaces, are told alone.
//
//   - Package test/peers plays the rest of the cluster. It does what real controllers do, at once, and whatever a
//     story's script says instead.
//   - Package wire stands between the operator and the API server: it counts the writes, and can fail, lose or delay
//     any of them, have the operator die after one, or hear of changes late.
//   - Package journal records everything that happens in the namespace, in the API server's order. At the end of each
//     story it is held against the rules that hold at every moment, whatever the story was about. A story that fails
//     prints it.
//
// KUBEBUILDER_ASSETS must name a folder with etcd, kube-apiserver and kubectl, which make test builds.
package integration
