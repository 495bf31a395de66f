package tree_test

import (
	"os"
	"slices"
	"testing"

	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

func TestEntriesAreSortedWithTheirDirectories(t *testing.T) {
	fs := tree.New()
	fs.Data("/usr/bin/b", nil, 0o755)
	fs.Data("usr/bin/a", nil, 0o755)

	if got, want := paths(fs), []string{"usr", "usr/bin", "usr/bin/a", "usr/bin/b"}; !slices.Equal(got, want) {
		t.Errorf("paths are %v, want %v", got, want)
	}
}

func TestSplitTakesWhatIsBelowADirectory(t *testing.T) {
	fs := tree.New()
	fs.Data("/usr/lib/modules/6.1/veth.ko", nil, 0o644)
	fs.Data("/usr/lib/modules.conf", nil, 0o644)

	below := fs.Split("/usr/lib/modules")

	if got, want := paths(below), []string{"6.1", "6.1/veth.ko"}; !slices.Equal(got, want) {
		t.Errorf("below are %v, want %v", got, want)
	}

	if got, want := paths(fs), []string{"usr", "usr/lib", "usr/lib/modules", "usr/lib/modules.conf"}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
}

func paths(t *tree.Tree) []string {
	var list []string
	for _, e := range t.Entries() {
		list = append(list, e.Path)
	}

	return list
}

func TestExecutablesAreFoundWhateverTheirModeAndName(t *testing.T) {
	elf := []byte("\x7fELF............\x03\x00")
	module := []byte("\x7fELF............\x01\x00")
	fs := tree.New()
	fs.Data("/usr/bin/dactyl", elf, 0o755)
	fs.Link("/usr/bin/init", "dactyl")
	fs.Link("/bin", "usr/bin")
	fs.Data("/usr/lib/libc.so.6", elf, 0o644)
	fs.Data("/usr/share/hidden", []byte("#!/bin/sh\n"), 0o644)
	fs.Data("/usr/share/odd", []byte("?"), 0o711)
	fs.Data("/usr/lib/modules/6/veth.ko", module, 0o644)
	fs.Data("/usr/lib/modules/6/shell.ko", elf, 0o644)
	fs.Data("/usr/bin/su", elf, os.ModeSetuid|0o755)
	fs.Link("/usr/bin/absolute", "/usr/bin/dactyl")
	fs.Link("/usr/sbin/above", "../bin/dactyl")
	fs.Data("/etc/hosts", []byte("127.0.0.1 localhost\n"), 0o644)
	fs.Data("/etc/empty", nil, 0o644)

	got, err := fs.Executables()
	if err != nil {
		t.Fatal(err)
	}

	want := []string{
		"link /usr/bin/absolute -> /usr/bin/dactyl", "program /usr/bin/dactyl", "link /usr/bin/init -> dactyl",
		"setuid program /usr/bin/su", "library /usr/lib/libc.so.6", "library /usr/lib/modules/6/shell.ko",
		"link /usr/sbin/above -> ../bin/dactyl", "script /usr/share/hidden", "unknown /usr/share/odd",
	}
	if !slices.Equal(got, want) {
		t.Errorf("executables are %q, want %q", got, want)
	}
}

func TestLibrariesAndInterpretersThatAreNotThereAreNamed(t *testing.T) {
	const program = "/usr/bin/env" // of this machine: dynamically linked on Debian

	if _, err := os.Stat(program); err != nil {
		t.Skip(err)
	}

	fs := tree.New()
	fs.File("/usr/bin/env", program, 0o755)

	missing, err := fs.Missing()
	if err != nil {
		t.Fatal(err)
	}

	if !slices.Contains(missing, "libc.so.6 (for /usr/bin/env)") || len(missing) < 2 {
		t.Errorf("missing are %q, want libc.so.6 and the interpreter", missing)
	}
}
