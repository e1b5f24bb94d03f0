// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package zk stands in for the provider for ZooKeeper.
package zk

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type Provider = absent.Provider
