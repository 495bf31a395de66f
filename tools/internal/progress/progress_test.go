package progress

import (
	"strings"
	"testing"
)

func TestPlainLinesOnlyForChanges(t *testing.T) {
	var out strings.Builder
	b := New(&out)
	b.Set("10.5.0.2", "rebooting")
	b.Set("10.5.0.3", "rebooting")
	b.Set("10.5.0.2", "rebooting")
	b.Set("10.5.0.2", "done")
	want := "10.5.0.2: rebooting\n10.5.0.3: rebooting\n10.5.0.2: done\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestTerminalRedraws(t *testing.T) {
	var out strings.Builder
	b := New(&out)
	b.terminal = true
	b.Set("a", "x")
	b.Set("a", "y")
	if !strings.Contains(out.String(), "\x1b[1A\x1b[2Ka: y") {
		t.Errorf("%q", out.String())
	}
}
