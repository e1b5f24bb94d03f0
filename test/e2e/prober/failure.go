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

// Kind says what is wrong with a request's outcome.
type Kind string

// Kinds of errors. An answer with another status than 200 is of the kind that StatusKind names.
const (
	// Refused: nobody listens at the gateway's address.
	Refused Kind = "refused"
	// Reset: the connection was torn down before the answer was complete.
	Reset Kind = "reset"
	// Closed: the connection was closed in good order before the answer was complete.
	Closed Kind = "closed"
	// TimedOut: no complete answer in time, be it for want of a connection.
	TimedOut Kind = "timeout"
	// Unreachable: there is no way to the gateway.
	Unreachable Kind = "unreachable"
	// WrongBody: an answer of 200 with a body that the target's Check refuses.
	WrongBody Kind = "wrong body"
	// Unattributed: an answer of 200 from nobody knows which revision.
	Unattributed Kind = "no revision"
	// Other is what the text of the error says.
	Other Kind = "other"
)

// StatusKind is the kind of an answer with a status other than 200.
func StatusKind(status int) Kind { return Kind(fmt.Sprintf("HTTP %d", status)) }

// Failure is an example of an error.
type Failure struct {
	Target string `json:"target"`
	// Due is when the request was due, After how much later it had failed.
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

// kindOf classifies the error of a request that got no complete answer.
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
		// The transport exports no value for it.
		strings.Contains(err.Error(), "server closed idle connection"):
		return Closed
	case errors.As(err, &network) && network.Timeout():
		return TimedOut
	default:
		return Other
	}
}

// abridged is the beginning of a text, on one line.
func abridged(text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "�")
	if runes := []rune(text); len(runes) > maxTextOfExample {
		return string(runes[:maxTextOfExample]) + "…"
	}
	return text
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
