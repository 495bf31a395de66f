package controllers

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

func TestSecureBoot(t *testing.T) {
	for variable, want := range map[string]bool{"\x06\x00\x00\x00\x01": true, "\x06\x00\x00\x00\x00": false, "": false, "\x01": false} {
		path := filepath.Join(t.TempDir(), "SecureBoot")
		if err := os.WriteFile(path, []byte(variable), 0o600); err != nil {
			t.Fatal(err)
		}

		if got := (&Security{SecureBoot: path, Log: slog.New(slog.DiscardHandler)}).secureBoot(); got != want {
			t.Errorf("variable %q is secure boot: %v", variable, got)
		}
	}
}
