// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd tests the CustomResourceDefinitions and the admission policies: which manifests they
// accept and reject, the error messages, the columns of kubectl get, and the size of the CRDs.
//
// A manifest in testdata/rejected begins with all validation errors, one per line:
//
//	# want: <field>: <end of the message>
//
// The tests validate all manifests with the API server's validation as a library, which takes
// milliseconds. If KUBEBUILDER_ASSETS names a folder with etcd, kube-apiserver and kubectl, they
// also use a real API server.
package crd
