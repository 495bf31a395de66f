// Command dactylctl manages Dactyl nodes and clusters.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/dactyl-os/dactyl/tools/internal/client"
	"github.com/dactyl-os/dactyl/tools/internal/progress"
	"github.com/dactyl-os/dactyl/tools/internal/screen"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run gives the exit code: 1 when anything failed, also on one node of many.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A pipe gets the bytes as they are.
	if progress.IsTerminal(out) {
		out = &screen.Writer{Raw: out}
	}
	if progress.IsTerminal(errOut) {
		errOut = &screen.Writer{Raw: errOut}
	}
	a := &app{in: in, out: out, err: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(screen.Raw(out))
	root.SetErr(screen.Raw(errOut))
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		return 130
	}
	for _, e := range flatten(err) {
		fmt.Fprintln(errOut, "error:", e)
	}

	return 1
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, flatten(e)...)
		}

		return out
	}

	return []error{err}
}

// explain gives advice for each of joined errors, once for what several nodes have in common.
func explain(err error, where []string) error {
	if err == nil {
		return nil
	}
	var (
		out  []error
		said = map[string]bool{}
	)
	for _, e := range flatten(err) {
		if e = client.Explain(e, where); !said[e.Error()] {
			said[e.Error()] = true
			out = append(out, e)
		}
	}

	return errors.Join(out...)
}
