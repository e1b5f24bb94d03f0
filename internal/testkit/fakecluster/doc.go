// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fakecluster runs fake controllers for tests without a cluster. They create and run the
// pods of Deployments, create the EndpointSlices of Services and accept HTTPRoutes. A fake of
// Knative Serving is optional.
//
// On a fake client, [New] returns controllers that act only in [Cluster.Step] and
// [Cluster.Settle], with the test's clock. On a real API server, [NewManaged] returns the same
// controllers, and a manager runs them. They react to watch events only, so they can be stopped and
// restarted like real controllers.
//
// By default everything succeeds at once. Tests inject failures and delays with
// [Workloads.SetBehavior] and [Gateway.SetBehavior]. A behavior also applies to objects that are
// created later.
package fakecluster
