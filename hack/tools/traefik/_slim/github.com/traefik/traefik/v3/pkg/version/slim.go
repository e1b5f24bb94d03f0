// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package version stands in for Traefik's version, which asks GitHub for a newer one.
package version

import (
	"time"

	"github.com/gorilla/mux"
)

var (
	Version            = "dev"
	Codename           = "slim"
	BuildDate          = ""
	StartDate          = time.Now()
	DisableDashboardAd = false
)

// Handler serves nothing.
type Handler struct{}

func (Handler) Append(*mux.Router) {}

func CheckNewVersion() {}
