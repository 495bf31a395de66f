// Package kittest is the test harness of daemons: whole binaries in temporary directories, network namespaces, waiting.
package kittest

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
)

// RequireRoot skips the test loudly when it does not run as root; CI fails on skips.
func RequireRoot(t testing.TB) { t.Helper() }

// Await polls cond until it holds and fails the test after timeout.
func Await(t testing.TB, timeout time.Duration, what string, cond func() bool) { t.Helper() }

// AwaitNoError polls cond until it gives nil and fails the test with its last error after timeout.
func AwaitNoError(t testing.TB, timeout time.Duration, cond func() error) { t.Helper() }

// Golden compares got with testdata/NAME and fails with a difference; -update writes the file.
func Golden(t testing.TB, name string, got []byte) { t.Helper() }

// NS is a network namespace of its own that lives as long as the test.
type NS struct {
	// Name is what `ip netns` lists, Path its file.
	Name, Path string
}

// NetNS makes a fresh network namespace with lo up.
func NetNS(t testing.TB) *NS { t.Helper(); return &NS{} }

// Run calls f on a thread inside the namespace and waits for it.
func (ns *NS) Run(f func()) { f() }

// Exec runs a program inside the namespace and gives its output; failure ends the test.
func (ns *NS) Exec(name string, args ...string) string { return "" }

// Options say how Start runs a daemon.
type Options struct {
	// Args are added to the command line.
	Args []string
	// Env is added to the environment.
	Env []string
	// Config is written to a file and passed as --config (the daemon runs alone).
	Config string
	// RunDir, StateDir and Root default to fresh temporary directories; daemons that share a RunDir see each other.
	RunDir, StateDir, Root string
	// NS runs the daemon in a network namespace.
	NS *NS
}

// Daemon is a running daemon process.
type Daemon struct {
	Name, RunDir, StateDir, Root, Socket string
}

// Start builds the main package once per test process and runs it in temporary directories until its health is SERVING.
func Start(t testing.TB, pkg string, opts Options) *Daemon { t.Helper(); return &Daemon{} }

// Conn is a client connection to the daemon's socket.
func (d *Daemon) Conn() *grpc.ClientConn { return nil }

// Kill sends SIGKILL and waits for the end.
func (d *Daemon) Kill() {}

// Restart kills the daemon and starts it again with the same directories.
func (d *Daemon) Restart() {}

// Stop sends SIGTERM, waits and gives the exit error.
func (d *Daemon) Stop(ctx context.Context) error { return nil }

// Log is what the daemon has written to stderr so far.
func (d *Daemon) Log() string { return "" }
