// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package peers plays the rest of a cluster for an API server that stands alone: what makes pods out of Deployments
// and runs them, what makes EndpointSlices out of Services, and a gateway that takes HTTPRoutes over.
//
// By default everything works at once. A test tells the peers what shall go wrong, where and when, with
// [Workloads.Play] and [Gateway.Play]; a script holds from then on, also for what is made later. The peers act on
// watches only and keep no state of their own but the scripts, so that they can be stopped and started like the
// controllers that they stand for.
package peers
