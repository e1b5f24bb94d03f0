// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package etcd stands in for the provider for etcd.
package etcd

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type Provider = absent.Provider
