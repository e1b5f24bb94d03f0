// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package console prints for people: in colours on a terminal, plainly
// elsewhere.
package console

import (
	"fmt"
	"io"
	"os"
)

// Console writes to one stream.
type Console struct {
	out      io.Writer
	terminal bool
	colours  bool
}

// New returns a console that writes to the file. It takes NO_COLOR
// (https://no-color.org) for an answer.
func New(out *os.File) *Console {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	return &Console{out: out, terminal: terminal, colours: terminal && os.Getenv("NO_COLOR") == ""}
}

// Style is a way to set text off.
type Style string

// The styles, by their use.
const (
	Title   Style = "1;36"
	Command Style = "1"
	Good    Style = "32"
	Bad     Style = "31"
	Faint   Style = "2"
)

// Styled returns the text in a style, where there are styles.
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

// Passing shows a line that the next one takes the place of. Where nothing can
// be replaced, it shows nothing.
func (c *Console) Passing(format string, args ...any) {
	if c.terminal {
		fmt.Fprintf(c.out, "\r\x1b[K"+c.Styled(Faint, format), args...)
	}
}

// Cleared removes what Passing has shown.
func (c *Console) Cleared() {
	if c.terminal {
		fmt.Fprint(c.out, "\r\x1b[K")
	}
}
