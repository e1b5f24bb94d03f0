// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package docker stands in for the providers for Docker and Docker Swarm.
package docker

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type (
	Provider      = absent.Provider
	SwarmProvider = absent.Provider
)
