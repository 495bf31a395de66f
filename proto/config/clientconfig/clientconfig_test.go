package clientconfig_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
)

func TestReadWriteMerge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "config")

	c, err := clientconfig.Read(path)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := c.Current(""); err == nil {
		t.Error("there is a current context in an empty file")
	}

	first := &clientconfig.Config{Context: "a", Contexts: map[string]*clientconfig.Context{
		"a": clientconfig.NewContext([]string{"10.5.0.2"}, []byte("ca"), []byte("crt"), []byte("key")),
	}}

	if renames := c.Merge(first); renames != nil || c.Context != "a" {
		t.Errorf("renames %v, context %s", renames, c.Context)
	}

	if renames := c.Merge(first); renames != nil || len(c.Contexts) != 1 {
		t.Errorf("the same again: renames %v, %d contexts", renames, len(c.Contexts))
	}

	other := &clientconfig.Config{Context: "a", Contexts: map[string]*clientconfig.Context{"a": {Endpoints: []string{"10.6.0.2"}, Nodes: []string{"n"}}}}
	if renames := c.Merge(other); len(renames) != 1 || renames[0].To != "a-1" || c.Context != "a-1" {
		t.Errorf("renames %v, context %s", renames, c.Context)
	}

	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}

	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}

	again, err := clientconfig.Read(path)
	if err != nil {
		t.Fatal(err)
	}

	context, err := again.Current("a")
	if err != nil {
		t.Fatal(err)
	}

	if ca, crt, key, err := context.PEM(); err != nil || string(ca)+string(crt)+string(key) != "cacrtkey" {
		t.Errorf("%s %s %s, error %v", ca, crt, key, err)
	}

	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left beside the file: %v", entries)
	}
}

func TestParseForeign(t *testing.T) {
	c, err := clientconfig.Parse([]byte("context: x\ncontexts:\n  x:\n    endpoints: [1.2.3.4]\n    auth: {siderov1: {identity: me}}\n  y:\n"))
	if err != nil || len(c.Contexts) != 2 || c.Contexts["y"] == nil {
		t.Errorf("%v, error %v", c, err)
	}

	if _, err := clientconfig.Parse([]byte("contexts: [1]")); err == nil {
		t.Error("a list of contexts is accepted")
	}
}

func TestPaths(t *testing.T) {
	env := map[string]string{"HOME": "/h", "TALOSCONFIG": "/t"}

	got := clientconfig.Paths(func(name string) string { return env[name] })
	if len(got) != 4 || got[0] != "/t" || got[1] != "/h/.dactyl/config" {
		t.Errorf("%v", got)
	}
}

// TestNothingIsWrittenWhereEverybodyReads: without a home the file of pods is read, and never made.
func TestNothingIsWrittenWhereEverybodyReads(t *testing.T) {
	for want, env := range map[string]map[string]string{
		"HOME is not set":             {},
		`HOME is "relative"`:          {"HOME": "relative"},
		"/own":                        {"DACTYLCONFIG": "/own"},
		"/nonexistent/.dactyl/config": {"HOME": "/nonexistent"},
	} {
		path, err := clientconfig.WritePath(func(name string) string { return env[name] })
		if got := fmt.Sprint(path, err); !strings.Contains(got, want) || strings.HasPrefix(path, "/var/run") {
			t.Errorf("%v: %s, want %s", env, got, want)
		}
	}
}
