package process

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOOMKills reads what both versions of the memory controller write beside a daemon's processes.
func TestOOMKills(t *testing.T) {
	for name, tc := range map[string]struct {
		file, text string
		want       uint64
	}{
		"version 2":  {"memory.events", "low 0\nhigh 0\nmax 37\noom 3\noom_kill 2\noom_group_kill 0\n", 2},
		"version 1":  {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 11\n", 11},
		"old kernel": {"memory.oom_control", "oom_kill_disable 1\nunder_oom 0\n", 0},
		"no number":  {"memory.events", "oom_kill many\n", 0},
		"none":       {"memory.current", "4096\n", 0},
	} {
		c := &Cgroups{root: t.TempDir()}
		if err := os.Mkdir(filepath.Join(c.root, "networkd"), 0o700); err != nil {
			t.Fatal(err)
		}

		if err := os.WriteFile(filepath.Join(c.root, "networkd", tc.file), []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}

		if got := c.oomKills("networkd"); got != tc.want {
			t.Errorf("%s: %d kills, want %d", name, got, tc.want)
		}
	}

	if got := (*Cgroups)(nil).oomKills("networkd"); got != 0 {
		t.Errorf("%d kills where there are no cgroups", got)
	}
}
