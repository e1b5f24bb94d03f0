// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package peers runs fake controllers against an API server without a cluster. They create and run
// the pods of Deployments, create the EndpointSlices of Services and accept HTTPRoutes. A fake of
// Knative Serving is optional.
//
// By default everything succeeds at once. Tests inject failures and delays with
// [Workloads.SetBehavior] and [Gateway.SetBehavior]. A behavior also applies to objects that are
// created later. The controllers react to watch events only, so they can be stopped and restarted
// like real controllers.
package peers
