package identity_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/discoveryd/internal/identity"
)

func TestLoadMakesOneAndKeepsIt(t *testing.T) {
	t.Parallel()

	dir := filepath.Join(t.TempDir(), "state")

	first, err := identity.Load(dir)
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

	second, err := identity.Load(dir)
	if err != nil || first != second {
		t.Errorf("identity changed from %q to %q (%v)", first, second, err)
	}

	info, err := os.Stat(filepath.Join(dir, identity.File))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("identity file: %v %v", info.Mode(), err)
	}

	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("beside the identity: %v, %v", entries, err)
	}
}

func TestLoadDamaged(t *testing.T) {
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

		if _, err := identity.Load(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", content, err, want)
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
