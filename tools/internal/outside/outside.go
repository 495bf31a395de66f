// Package outside looks at a sandbox cluster as a stranger would: through the built client, the public API, ordinary
// programs and /proc of the host. The end-to-end tests and the benchmarks share it.
package outside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// commandLimit ends a program that hangs.
const commandLimit = 15 * time.Minute

// Result is what a program gave. Err is nil when it exited with 0.
type Result struct {
	Args   []string
	Stdout string
	Stderr string
	Code   int
	Err    error
}

// String renders the result as a shell session.
func (r Result) String() string {
	return fmt.Sprintf("$ %s\n%s%s(exit code %d)", strings.Join(r.Args, " "), r.Stdout, r.Stderr, r.Code)
}

// Run runs a program to its end, for at most a quarter of an hour.
func Run(ctx context.Context, name string, args ...string) Result {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := Result{Args: append([]string{filepath.Base(name)}, args...), Stdout: stdout.String(), Stderr: stderr.String(), Err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.Code = exit.ExitCode()
	} else if err != nil {
		r.Code = -1
	}

	return r
}

// Dactylctl runs the built client.
func Dactylctl(ctx context.Context, args ...string) Result {
	return Run(ctx, Repository("_out", "dactylctl"), args...)
}

// Repository joins a path to the root of the checkout, found from the working directory.
func Repository(elem ...string) string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for root := dir; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.work")); err == nil {
			return filepath.Join(append([]string{root}, elem...)...)
		}
		if root == filepath.Dir(root) {
			panic("outside: no go.work above " + dir)
		}
	}
}

// WhenInterrupted cleans up and ends the process, with 1, when it is asked to end: Ctrl-C or SIGTERM.
func WhenInterrupted(clean func()) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)

	go func() {
		<-interrupted
		clean()
		os.Exit(1)
	}()
}

// OwnHome gives the process a home directory of its own, so that the user's clusters and client configuration stay
// untouched, while Go's caches stay where they are. The returned function removes it.
func OwnHome(ctx context.Context) (func(), error) {
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		r := Run(ctx, "go", "env", name)
		if r.Err != nil {
			return nil, fmt.Errorf("%s", r)
		}
		os.Setenv(name, strings.TrimSpace(r.Stdout))
	}
	home, err := os.MkdirTemp("", "dactyl-home-")
	if err != nil {
		return nil, err
	}
	os.Setenv("HOME", home)
	os.Unsetenv("DACTYLCONFIG")
	os.Unsetenv("TALOSCONFIG")

	return func() { os.RemoveAll(home) }, nil
}
