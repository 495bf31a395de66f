// Package vm shows on virtual machines what README promises of a machine of its own: QEMU, our kernel and initramfs, and
// from outside the built client, the public API, the monitor socket, console logs, disk images and ordinary tools.
//
// Each test makes a cluster of its own and removes it; README.md has the harness on one page. Tests named TestLong… are
// left out by -short, which `make test` uses: TestMain then sets -skip, as one could on the command line, and says so. They
// do not report themselves as skipped, since a skip is a promise that could not be kept here; `make test-vm` runs them all.
package vm

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const long = "^TestLong"

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run gives the suite a home of its own, so that the user's clusters and client configuration stay untouched.
func run(m *testing.M) int {
	flag.Parse()

	if err := errors.Join(prepared(), leaveOut()); err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)

		return 1
	}

	removeHome, err := outside.OwnHome(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)

		return 1
	}
	defer removeHome()

	outside.WhenInterrupted(func() { destroyAll(); removeHome() })

	return m.Run()
}

// prepared names what is missing before any test fails for want of it.
func prepared() error {
	if os.Getuid() != 0 {
		return errors.New("virtual machines need a bridge and taps: run as root")
	}

	for _, name := range []string{"dactylctl", "vmlinuz-amd64", "initramfs-amd64.xz"} {
		if _, err := os.Stat(outside.Repository("_out", name)); err != nil {
			return fmt.Errorf("%w: `make build kernel initramfs` first", err)
		}
	}

	return nil
}

func leaveOut() error {
	if !testing.Short() || flag.Lookup("test.skip").Value.String() != "" {
		return nil
	}

	fmt.Printf("vm: -short leaves out %s: `make test-vm` runs them\n", long)

	return flag.Set("test.skip", long)
}
