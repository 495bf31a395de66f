package identity_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/discoveryd/internal/identity"
)

func TestLoadMakesOneAndKeepsIt(t *testing.T) {
	t.Parallel()

	dir := filepath.Join(t.TempDir(), "state")

	first, err := identity.Load(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}

	if len(first) != 43 {
		t.Errorf("identity %q has %d characters", first, len(first))
	}

	// What a power cut during an earlier first start left behind.
	if err := os.WriteFile(filepath.Join(dir, "."+identity.File+".tmp-1"), []byte("node"), 0o600); err != nil {
		t.Fatal(err)
	}

	second, err := identity.Load(dir, slog.New(slog.DiscardHandler))
	if err != nil || first != second {
		t.Errorf("identity changed from %q to %q (%v)", first, second, err)
	}

	info, err := os.Stat(filepath.Join(dir, identity.File))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("identity file: %v %v", info.Mode(), err)
	}

	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("beside the identity: %v, %v", entries, err)
	}
}

// TestDamagedIsMended: one of the two files is enough, and a word in the log tells of it.
func TestDamagedIsMended(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()

	first, err := identity.Load(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{identity.File, "node-identity.good"} {
		for _, content := range []string{"", "nodeId: [", "nodeId: AAAA\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}

			var log bytes.Buffer

			again, err := identity.Load(dir, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil || again != first || !strings.Contains(log.String(), "node identity mended") {
				t.Errorf("%s is %q: identity %q, %v, log: %s", name, content, again, err, log.String())
			}
		}
	}
}

// TestLostIsMadeAnew: without the copy, as an older build left it, a damaged identity is lost; that is told, and the node goes on.
func TestLostIsMadeAnew(t *testing.T) {
	t.Parallel()

	for content, want := range map[string]string{
		"":                                   "no nodeId in it",
		"nodeId: \"a b\"\n":                  "nodeId has characters other than letters and digits",
		"nodeId: [":                          "parse node identity",
		"nodeId: " + strings.Repeat("a", 65): "nodeId has 65 characters, 64 at most",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, identity.File), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}

		var log bytes.Buffer

		made, err := identity.Load(dir, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || len(made) != 43 || !strings.Contains(log.String(), want) || !strings.Contains(log.String(), "node identity lost") {
			t.Errorf("%q: got %q, %v, log: %s", content, made, err, log.String())
		}

		if again, err := identity.Load(dir, slog.New(slog.DiscardHandler)); err != nil || again != made {
			t.Errorf("the new one does not stay: %q, %v", again, err)
		}

		if kept, err := os.ReadFile(filepath.Join(dir, identity.File+".damaged")); err != nil || string(kept) != content {
			t.Errorf("the damaged one is not kept: %q, %v", kept, err)
		}
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()

	if got := identity.Encode([]byte{61}); got != strings.Repeat("0", 42)+"z" {
		t.Errorf("got %q", got)
	}

	if got := identity.Encode(bytes.Repeat([]byte{0xff}, 32)); len(got) != 43 || strings.HasPrefix(got, "0") {
		t.Errorf("the largest identity is %q", got)
	}
}
