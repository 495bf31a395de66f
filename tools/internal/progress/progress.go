// Package progress shows what long work is doing: one line per subject that
// changes in place on a terminal, plain lines elsewhere.
package progress

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/dactyl-os/dactyl/tools/internal/screen"
)

// Board holds one line per subject: a node, a daemon, a step.
type Board struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	subjects []string
	lines    map[string]string
	start    time.Time
	drawn    int
}

// New makes a board; it redraws itself when out is a terminal.
func New(out io.Writer) *Board {
	return &Board{out: screen.Raw(out), terminal: IsTerminal(out), lines: map[string]string{}, start: time.Now()}
}

// IsTerminal says whether a writer is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := screen.Raw(w).(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()

	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Set says what a subject is doing now; repeating oneself prints nothing.
func (b *Board) Set(subject, doing string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	subject, doing = screen.Escape(subject), screen.Escape(doing)
	if last, known := b.lines[subject]; known && last == doing {
		return
	}
	if !slices.Contains(b.subjects, subject) {
		b.subjects = append(b.subjects, subject)
	}
	b.lines[subject] = doing
	if !b.terminal {
		fmt.Fprintf(b.out, "%s: %s\n", subject, doing)

		return
	}
	b.redraw()
}

func (b *Board) redraw() {
	if b.drawn > 0 {
		fmt.Fprintf(b.out, "\x1b[%dA", b.drawn)
	}
	elapsed := time.Since(b.start).Round(time.Second)
	for _, s := range b.subjects {
		fmt.Fprintf(b.out, "\x1b[2K%s: %s (%s)\n", s, b.lines[s], elapsed)
	}
	b.drawn = len(b.subjects)
}
