// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package integration runs the operator on a real etcd and kube-apiserver and tells stories about it: what a user
// does, what goes wrong, and what everybody sees.
//
// Each story has a namespace, an operator and peers (see test/peers) of its own, so that it can restart, cut off or
// kill its operator without harm to others. The operator runs with the rights of the ServiceAccount that it has in a
// cluster. A journal records everything; at the end of each story it is held against the rules that hold at every
// moment, whatever the story was about.
//
// KUBEBUILDER_ASSETS must name a folder with etcd, kube-apiserver and kubectl, which make test builds.
package integration
