package daemon_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestLoopsGoOnWithoutAnOwner stops the owner of an input: whoever reads it goes on with what it knows, also when it starts
// while the owner hangs, and takes up what the owner says later.
func TestLoopsGoOnWithoutAnOwner(t *testing.T) {
	owner := kittest.Start(t, pkg, kittest.Options{Env: []string{"TEST_ITEMS=3"}})
	copier := kittest.Start(t, pkg, kittest.Options{Name: testdaemon.CopierName, Env: []string{"TEST_NAME=" + testdaemon.CopierName}, RunDir: owner.RunDir})
	copies := func(want int) func() bool {
		return func() bool {
			list, err := stateOf(copier.Conn()).List(within(t, 5*time.Second), pointer(testdaemon.CopyType, ""))

			return err == nil && len(list.Items) == want
		}
	}

	kittest.Await(t, 10*time.Second, "3 copies", copies(3))

	kittest.Freeze(t, owner.PID())

	// Each poke of the copier's own kind is a pass through its loop, which reads all items.
	for _, id := range []string{"poke-1", "poke-2"} {
		if err := stateOf(copier.Conn()).Create(within(t, 5*time.Second), testdaemon.NewItem(testdaemon.PokeType, id, "")); err != nil {
			t.Fatal(err)
		}

		kittest.Await(t, 10*time.Second, "a copy of "+id, func() bool {
			_, err := stateOf(copier.Conn()).Get(within(t, time.Second), pointer(testdaemon.CopyType, id))

			return err == nil
		})
	}

	copier.Restart()

	if list, err := stateOf(copier.Conn()).List(within(t, 5*time.Second), pointer(testdaemon.CopyType, "")); err != nil {
		t.Errorf("%v, %v", list, err)
	}

	if err := syscall.Kill(owner.PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}

	kittest.Await(t, 10*time.Second, "3 copies", copies(3))
}
