// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ingressnginx stands in for the provider for Ingresses of ingress-nginx.
package ingressnginx

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type Provider = absent.Provider
