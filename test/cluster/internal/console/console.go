// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package console prints text for people, with colours on a terminal and without elsewhere.
package console

import (
	"fmt"
	"io"
	"os"
)

// Console writes to a file.
type Console struct {
	out      io.Writer
	terminal bool
	colours  bool
}

// New returns a console that writes to the file. It respects NO_COLOR (https://no-color.org).
func New(out *os.File) *Console {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	return &Console{out: out, terminal: terminal, colours: terminal && os.Getenv("NO_COLOR") == ""}
}

// Style is the parameter of an ANSI escape sequence for colours and weights.
type Style string

// The styles by their purpose.
const (
	Title   Style = "1;36"
	Command Style = "1"
	Good    Style = "32"
	Bad     Style = "31"
	Faint   Style = "2"
)

// Styled returns the text in a style if the console supports colours.
func (c *Console) Styled(style Style, text string) string {
	if !c.colours || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

// Line prints a line.
func (c *Console) Line(format string, args ...any) {
	fmt.Fprintf(c.out, format+"\n", args...)
}

// Status shows a line that the next call replaces. It prints nothing unless the console is a
// terminal.
func (c *Console) Status(format string, args ...any) {
	if c.terminal {
		fmt.Fprintf(c.out, "\r\x1b[K"+c.Styled(Faint, format), args...)
	}
}

// ClearStatus removes the line that Status has shown.
func (c *Console) ClearStatus() {
	if c.terminal {
		fmt.Fprint(c.out, "\r\x1b[K")
	}
}
