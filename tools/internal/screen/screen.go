// Package screen keeps what nodes say from doing something to the terminal that it is shown on: a file's name, a process's
// arguments and a line of a log may hold whatever somebody put there.
package screen

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// Escape writes control characters but newline and tab, and bytes that are no UTF-8, as \x1b or \u009b.
func Escape(text string) string {
	if !strings.ContainsFunc(text, control) && utf8.ValidString(text) {
		return text
	}

	var b strings.Builder

	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)

		switch {
		case r == '\r' && strings.HasPrefix(text[n:], "\n"): // the end of a line, as some write it
		case r == utf8.RuneError && n == 1, control(r) && r <= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case control(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(text[:n])
		}

		text = text[n:]
	}

	return b.String()
}

// control also tells the marks by which a text is shown in another order than it is.
func control(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	default:
		return r < ' ' || r >= 0x7f && r < 0xa0
	}
}

// Writer escapes what is written to Raw.
type Writer struct {
	Raw io.Writer

	mu    sync.Mutex
	begun []byte // of a character that the next Write goes on with
}

// Write takes all of p.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()

	data := append(w.begun, p...)
	whole := len(data)

	for i := max(0, len(data)-utf8.UTFMax+1); i < len(data); i++ {
		if utf8.RuneStart(data[i]) && !utf8.FullRune(data[i:]) {
			whole = i

			break
		}
	}

	w.begun = append([]byte(nil), data[whole:]...)

	_, err := io.WriteString(w.Raw, Escape(string(data[:whole])))

	return len(p), err
}

// Raw gives the writer below a Writer: for the client's own ways with a terminal.
func Raw(out io.Writer) io.Writer {
	if w, ok := out.(*Writer); ok {
		return w.Raw
	}

	return out
}
