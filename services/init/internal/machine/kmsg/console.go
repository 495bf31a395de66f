// Package kmsg is the kernel's log as a machine's console: what init has to say is written there, so that it stands between
// the kernel's own lines, survives in pstore and is shown on every console; and the whole log is kept on disk.
package kmsg

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
)

// maxLine is what the kernel takes in one record, less its prefix.
const maxLine = 900

// Levels of lines, as in syslog(3); with the facility "daemon".
const (
	daemonFacility = 3 << 3
	levelError     = 3
	levelWarning   = 4
	levelInfo      = 6
)

// Console writes lines for people into the kernel's log.
type Console struct {
	out   io.Writer
	level *regexp.Regexp
	// verbose shows every line of every daemon.
	verbose bool
}

// Open opens the kernel's log for writing; without it lines go to fallback.
func Open(path string, fallback io.Writer, verbose bool) *Console {
	c := &Console{out: fallback, verbose: verbose, level: regexp.MustCompile(`(?:^| )level=([A-Z]+)(?:[+-]\d+)? `)}

	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		c.out = f
	}

	return c
}

// Say writes one line that people are meant to read.
func (c *Console) Say(format string, args ...any) {
	c.line(levelInfo, fmt.Sprintf(format, args...))
}

func (c *Console) line(level int, text string) {
	if len(text) > maxLine {
		text = text[:maxLine] + "…"
	}

	// One write is one record.
	_, _ = fmt.Fprintf(c.out, "<%d>dactyl: %s\n", daemonFacility|level, text)
}

// Write takes the log of init and the lines of daemons ("NAME | line"). Those with a level are shown from warnings up: the
// rest is in `logs NAME`. What has no level is a panic, or a program that knows nothing of levels.
func (c *Console) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		line = bytes.TrimRight(line, "\n")

		if level, show := c.judge(line); len(line) > 0 && (show || c.verbose) {
			c.line(level, string(line))
		}
	}

	return len(p), nil
}

func (c *Console) judge(line []byte) (level int, show bool) {
	found := c.level.FindSubmatch(line)

	switch {
	case found == nil:
		return levelWarning, true
	case bytes.Equal(found[1], []byte("ERROR")):
		return levelError, true
	case bytes.Equal(found[1], []byte("WARN")):
		return levelWarning, true
	default:
		return levelInfo, false
	}
}
