package cluster

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// progress tells what goes on: on a terminal one line for each step that changes while it lasts, else a line at its end.
type progress struct {
	out      io.Writer
	terminal bool

	mu     sync.Mutex
	detail string
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}

	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}

	return p
}

func (p *progress) say(format string, args ...any) {
	fmt.Fprintf(p.out, format+"\n", args...)
}

// note sets what a running step shows behind its name.
func (p *progress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.detail = fmt.Sprintf(format, args...)
}

func (p *progress) noted() string {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.detail
}

// step runs do and shows name while it lasts and how long it took.
func (p *progress) step(name string, do func() error) error {
	p.note("")

	start := time.Now()
	stop := make(chan struct{})

	var shown sync.WaitGroup

	if p.terminal {
		shown.Go(func() { p.animate(name, start, stop) })
	}

	err := do()

	close(stop)
	shown.Wait()

	mark := "✓"
	if err != nil {
		mark = "✗"
	}

	fmt.Fprintf(p.out, "%s %s (%s)\n", mark, name, time.Since(start).Round(10*time.Millisecond))

	return err
}

func (p *progress) animate(name string, start time.Time, stop <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()

	const frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

	for i := 0; ; i++ {
		line := fmt.Sprintf("%c %s %s", []rune(frames)[i%10], name, time.Since(start).Round(time.Second))
		if detail := p.noted(); detail != "" {
			line += ": " + detail
		}

		if runes := []rune(line); len(runes) > 110 {
			line = string(runes[:109]) + "…"
		}

		fmt.Fprintf(p.out, "\r\x1b[K%s", strings.ReplaceAll(line, "\n", " "))

		select {
		case <-tick.C:
		case <-stop:
			fmt.Fprint(p.out, "\r\x1b[K")

			return
		}
	}
}
