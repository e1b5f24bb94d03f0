// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd tests the CustomResourceDefinitions: which manifests they accept,
// what they answer to the others, what kubectl prints, and that they are small
// enough for a plain kubectl apply.
//
// A manifest in testdata/rejected begins with everything that the API server
// says about it, a line for each:
//
//	# want: <field>: <end of the message>
//
// The same manifests are given to the API server's own validation as a library,
// which takes milliseconds, and to a real API server where KUBEBUILDER_ASSETS
// names a folder with etcd, kube-apiserver and kubectl.
package crd
