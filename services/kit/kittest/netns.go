package kittest

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// NS is a network namespace of its own that lives as long as the test.
type NS struct {
	t testing.TB

	// Name is what `ip netns` lists, Path its file.
	Name, Path string
}

// NetNS makes a fresh network namespace with lo up. It needs root.
func NetNS(t testing.TB) *NS {
	t.Helper()
	RequireRoot(t)

	random := make([]byte, 4)
	rand.Read(random) // never fails

	ns := &NS{t: t, Name: "kittest-" + hex.EncodeToString(random)}
	ns.Path = filepath.Join("/run/netns", ns.Name)

	ns.host("ip", "netns", "add", ns.Name)
	t.Cleanup(func() { ns.host("ip", "netns", "del", ns.Name) })
	ns.Exec("ip", "link", "set", "lo", "up")

	return ns
}

// Run calls f on a thread inside the namespace and waits for it. Goroutines that f starts are not inside.
func (ns *NS) Run(f func()) {
	ns.t.Helper()

	failed := make(chan error, 1)

	go func() {
		// The thread is not unlocked: it ends with the goroutine, and nobody else gets into the namespace with it.
		runtime.LockOSThread()

		err := ns.enter()
		if err == nil {
			f()
		}

		failed <- err
	}()

	if err := <-failed; err != nil {
		ns.t.Fatalf("enter network namespace %s: %v", ns.Name, err)
	}
}

func (ns *NS) enter() error {
	f, err := os.Open(ns.Path)
	if err != nil {
		return err
	}
	defer f.Close()

	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}

// Exec runs a program inside the namespace and gives what it prints; failure ends the test.
func (ns *NS) Exec(name string, args ...string) string {
	ns.t.Helper()

	return ns.host("ip", append([]string{"netns", "exec", ns.Name, name}, args...)...)
}

func (ns *NS) host(name string, args ...string) string {
	ns.t.Helper()

	var stderr strings.Builder

	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr

	out, err := cmd.Output()
	if err != nil {
		ns.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}

	return string(out)
}
