// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Kind classifies the error of a request.
type Kind string

// Kinds of errors. statusKind returns the kind for a status other than 200.
const (
	// Refused means that the gateway refused the connection.
	Refused Kind = "refused"
	// Reset means that the connection was reset before the response was complete.
	Reset Kind = "reset"
	// Closed means that the connection was closed before the response was complete.
	Closed Kind = "closed"
	// TimedOut means that there was no complete response in time. Waiting for a connection counts.
	TimedOut Kind = "timeout"
	// Unreachable means that there is no route to the gateway's address.
	Unreachable Kind = "unreachable"
	// WrongBody means that the target's Check rejected the body of a response with status 200.
	WrongBody Kind = "wrong body"
	// Unattributed means that a response with status 200 did not identify its revision.
	Unattributed Kind = "no revision"
	// Other is any other error. Its text has the details.
	Other Kind = "other"
)

// statusKind returns the kind of a response with a status other than 200.
func statusKind(status int) Kind { return Kind(fmt.Sprintf("HTTP %d", status)) }

// Failure is an example of an error.
type Failure struct {
	Target string `json:"target"`
	// Due is when the request was due, and After how much later it failed.
	Due   time.Duration `json:"due"`
	After time.Duration `json:"after"`
	Kind  Kind          `json:"kind"`
	Text  string        `json:"text"`
	New   bool          `json:"new,omitempty"`
}

func (f Failure) String() string {
	connection := "kept-alive"
	if f.New {
		connection = "new"
	}
	return fmt.Sprintf("%s to %s at %s, after %s, on a %s connection: %s",
		f.Kind, f.Target, seconds(f.Due), milliseconds(f.After), connection, f.Text)
}

func kindOf(err error) Kind {
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return TimedOut
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return Reset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe),
		// net/http exports no value for this error.
		strings.Contains(err.Error(), "server closed idle connection"):
		return Closed
	case errors.As(err, &network) && network.Timeout():
		return TimedOut
	default:
		return Other
	}
}

func truncate(text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "�")
	if runes := []rune(text); len(runes) > maxErrorText {
		return string(runes[:maxErrorText]) + "…"
	}
	return text
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
