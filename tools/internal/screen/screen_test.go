package screen_test

import (
	"bytes"
	"testing"

	"github.com/dactyl-os/dactyl/tools/internal/screen"
)

func TestEscape(t *testing.T) {
	for given, want := range map[string]string{
		"plain\ttext\n":     "plain\ttext\n",
		"Grüße, 日本, 🙂":      "Grüße, 日本, 🙂",
		"\x1b]0;title\x07":  `\x1b]0;title\x07`,
		"a\rb\r\nc\x00\x7f": "a\\x0db\nc\\x00\\x7f",
		"\u009b2J":          `\u009b2J`,
		"odd\xff\xc3name":   `odd\xff\xc3name`,
		"\u202egnp.exe":     `\u202egnp.exe`,
		"":                  "",
	} {
		if got := screen.Escape(given); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}

// TestWriter: characters that come in pieces are whole again.
func TestWriter(t *testing.T) {
	text := "ü🙂\x1b[31m日\xff\n"

	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer

		w := &screen.Writer{Raw: &out}

		for rest := []byte(text); len(rest) > 0; {
			n, err := w.Write(rest[:min(size, len(rest))])
			if err != nil {
				t.Fatal(err)
			}

			rest = rest[n:]
		}

		if want := "ü🙂\\x1b[31m日\\xff\n"; out.String() != want {
			t.Errorf("in pieces of %d: %q", size, out.String())
		}
	}

	if raw := new(bytes.Buffer); screen.Raw(&screen.Writer{Raw: raw}) != raw || screen.Raw(raw) != raw {
		t.Error("it is another writer")
	}
}
