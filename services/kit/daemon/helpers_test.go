package daemon_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// runAs runs a copy of a program that every user may run.
func runAs(t *testing.T, who *syscall.Credential, program string, args ...string) (string, error) {
	t.Helper()

	dir, err := os.MkdirTemp("", "kit")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { os.RemoveAll(dir) })

	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}

	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}

	own := filepath.Join(dir, "program")
	if err := os.WriteFile(own, data, 0o755); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(own, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	out, err := cmd.CombinedOutput()

	return string(out), err
}
