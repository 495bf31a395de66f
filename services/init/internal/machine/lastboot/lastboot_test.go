package lastboot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEachBootTellsHowTheOneBeforeEnded(t *testing.T) {
	dir := t.TempDir()

	boot := func(id string, crashed bool) string {
		t.Helper()

		previous, err := Begin(dir, Record{Boot: id, Started: time.Now()}, crashed)
		if err != nil {
			t.Fatal(err)
		}

		return previous
	}

	if got := boot("a", false); got != "" {
		t.Errorf("the first boot knows of %q", got)
	}

	if err := os.WriteFile(filepath.Join(dir, ".boot.json.tmp-1"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}

	if got := boot("b", false); !strings.HasPrefix(got, "power cut") {
		t.Errorf("after a power cut: %q", got)
	}

	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("beside the record: %v, %v", entries, err)
	}

	if err := End(dir, Record{Boot: "b"}, "reboot: asked for through the API"); err != nil {
		t.Fatal(err)
	}

	if got := boot("c", false); !strings.HasPrefix(got, "reboot: asked for through the API, at 20") {
		t.Errorf("after a reboot: %q", got)
	}

	if got := boot("c", false); got != "" {
		t.Errorf("begun twice: %q", got)
	}

	if got := boot("d", true); !strings.HasPrefix(got, "kernel crash") {
		t.Errorf("after a crash: %q", got)
	}

	if err := os.WriteFile(filepath.Join(dir, "boot.json"), []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}

	if got := boot("e", false); !strings.HasPrefix(got, "unknown") {
		t.Errorf("after a torn record: %q", got)
	}
}
