// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// Status classifies the result of a query.
type Status string

const (
	// Success means that the response is complete and plausible.
	Success Status = "Success"
	// NoSeries means that Prometheus has no such series.
	NoSeries Status = "NoSeries"
	// Unavailable means that Prometheus gave no complete response. The query may succeed later.
	Unavailable Status = "Unavailable"
	// Invalid means that the response cannot be used, or that Prometheus refuses the query. The
	// query, the preset or the series must be corrected.
	Invalid Status = "Invalid"
)

var statuses = []Status{Success, NoSeries, Unavailable, Invalid}

// Failure says why there is no result. The message names the query.
type Failure struct {
	Status  Status
	Message string
}

func noSeries(queries ...string) *Failure {
	return &Failure{Status: NoSeries, Message: "Prometheus has no series for " + strings.Join(queries, " and ")}
}

func invalid(query, format string, args ...any) *Failure {
	return &Failure{Status: Invalid, Message: fmt.Sprintf("query %s: ", query) + fmt.Sprintf(format, args...)}
}

// failureOf classifies an error of the client.
func failureOf(query string, err error) *Failure {
	status, problem := Unavailable, err.Error()
	answer, answered := errors.AsType[*promv1.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		problem = "Prometheus did not respond in time"
	case errors.As(err, new(*http.MaxBytesError)):
		status, problem = Invalid, "the response is too large: the selector must select fewer series"
	case errors.As(err, new(*url.Error)):
	case !answered, answer.Type == promv1.ErrBadResponse:
		problem = "the response is no complete JSON: " + problem
	case answer.Type == promv1.ErrBadData, answer.Type == promv1.ErrExec:
		status = Invalid
	case answer.Type == promv1.ErrClient:
		problem += ": check the address and the credentials of Prometheus"
	}
	return &Failure{Status: status, Message: fmt.Sprintf("query %s: %s", query, shorten(problem))}
}

// shorten cuts a message that may contain a whole response.
func shorten(message string) string {
	const limit = 300
	if len(message) <= limit {
		return message
	}
	return strings.ToValidUTF8(message[:limit], "") + "…"
}
