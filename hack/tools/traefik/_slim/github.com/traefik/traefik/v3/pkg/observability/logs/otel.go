// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"context"
	"errors"

	"github.com/rs/zerolog"
	"github.com/traefik/traefik/v3/pkg/observability/types"
)

// SetupOTelLogger refuses to send logs to OpenTelemetry, whose API has changed since this version of Traefik.
func SetupOTelLogger(_ context.Context, logger zerolog.Logger, config *types.OTelLog) (zerolog.Logger, error) {
	if config != nil {
		return logger, errors.New("this build of Traefik sends no logs to OpenTelemetry")
	}
	return logger, nil
}
