package outside

import (
	"os"
	"path/filepath"
	"testing"
)

// Must fails the test when the program failed and gives its standard output.
func Must(t testing.TB, r Result) string {
	t.Helper()

	if r.Err != nil {
		t.Fatal(r)
	}

	return r.Stdout
}

// EtcdPKI gives the flags with which etcdctl is an admin of a node's etcd: its certificates are read from the node.
func EtcdPKI(t testing.TB, address string, read func(path string) string) []string {
	t.Helper()

	dir := t.TempDir()

	for _, name := range []string{"ca.crt", "admin.crt", "admin.key"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(read("/system/secrets/etcd/"+name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	return []string{"--endpoints", "https://" + address + ":2379", "--cacert", filepath.Join(dir, "ca.crt"),
		"--cert", filepath.Join(dir, "admin.crt"), "--key", filepath.Join(dir, "admin.key")}
}
