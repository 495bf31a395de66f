package mounts

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

// TestWatchMissesNoMount mounts in a namespace of its own, one at a time: nothing that comes later may hide a change that
// went by unseen.
func TestWatchMissesNoMount(t *testing.T) {
	kittest.RequireRoot(t)

	dir := t.TempDir()
	tid, mount, done := make(chan int), make(chan bool), make(chan error)

	go func() {
		runtime.LockOSThread() // and not unlocked: the thread ends with its namespace

		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			done <- err

			return
		}

		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			done <- err

			return
		}

		tid <- unix.Gettid()

		for up := range mount {
			if up {
				done <- unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")
			} else {
				done <- unix.Unmount(dir, unix.MNT_DETACH)
			}
		}
	}()

	defer close(mount)

	var path string

	select {
	case id := <-tid:
		path = fmt.Sprintf("/proc/self/task/%d/mountinfo", id)
	case err := <-done:
		t.Fatal(err)
	}

	seen := make(chan bool)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error)

	go func() {
		stopped <- watch(ctx, path, func(entries []mountinfo.Mount) {
			on := false
			for _, e := range entries {
				on = on || e.Target == dir
			}

			select {
			case seen <- on:
			case <-ctx.Done():
			}
		})
	}()

	await := func(want bool) {
		t.Helper()

		for limit := time.After(10 * time.Second); ; {
			select {
			case got := <-seen:
				if got == want {
					return
				}
			case <-limit:
				t.Fatalf("the watch does not tell that mounted is %v", want)
			}
		}
	}

	await(false)

	for i := range 400 {
		up := i%2 == 0
		mount <- up

		if err := <-done; err != nil {
			t.Fatal(err)
		}

		await(up)
	}

	cancel()

	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
