// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ecs stands in for the provider for Amazon ECS.
package ecs

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type Provider = absent.Provider
