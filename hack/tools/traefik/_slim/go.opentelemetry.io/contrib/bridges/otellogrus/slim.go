// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package otellogrus stands in for the bridge between logs, whose version for our OpenTelemetry Traefik does not take.
package otellogrus

import (
	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/log"
)

type Option struct{}

func WithLoggerProvider(log.LoggerProvider) Option { return Option{} }

func NewHook(string, ...Option) logrus.Hook {
	panic("this build of Traefik sends no logs to OpenTelemetry")
}
