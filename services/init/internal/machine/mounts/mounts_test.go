package mounts

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/machine/guard"
	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

const sample = `1 1 0:2 / / ro,relatime - squashfs /dev/loop0 ro
20 1 0:20 / /proc rw,nosuid - proc proc rw
21 1 0:21 / /var rw - tmpfs tmpfs rw
22 21 253:6 / /var rw,nosuid shared:3 - ext4 /dev/vda6 rw
23 22 253:6 /lib/etcd /var/lib/etcd rw - ext4 /dev/vda6 rw
24 22 0:50 / /var/lib/kubelet/pods/a\040b rw - tmpfs tmpfs rw
25 1 253:5 / /system/state rw - ext4 /dev/vda5 rw
26 1 0:60 / /mnt/share rw - nfs4 10.0.0.1:/x rw
27 1 0:61 / /run rw - tmpfs tmpfs rw
broken
`

func TestPlanUnmountsWhatKeepsDataLastFirst(t *testing.T) {
	want := []string{"/mnt/share", "/system/state", "/var/lib/kubelet/pods/a b", "/var/lib/etcd", "/var"}

	// The scratch file system below /var is covered by the disk and goes with the machine.
	if got := Plan(mountinfo.Parse(sample)); !slices.Equal(got, want) {
		t.Errorf("plan is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOn(t *testing.T) {
	entries := mountinfo.Parse(sample)

	for target, want := range map[string]bool{"/var": true, "/system/state": true, "/run": false, "/etc": false} {
		if got := On(entries, target); got != want {
			t.Errorf("%s persistent: %v, want %v", target, got, want)
		}
	}
}

// TestNothingIsMountedHere: without a permit, which no test can have, nothing happens.
func TestNothingIsMountedHere(t *testing.T) {
	before, err := Current()
	if err != nil {
		t.Fatal(err)
	}

	if err := Early(guard.Permit{}, true); !errors.Is(err, guard.ErrNoMachine) {
		t.Errorf("mounting is %v", err)
	}

	if err := PrepareVar(guard.Permit{}); !errors.Is(err, guard.ErrNoMachine) {
		t.Errorf("preparing /var is %v", err)
	}

	if err := Down(guard.Permit{}, time.Second); !errors.Is(err, guard.ErrNoMachine) {
		t.Errorf("unmounting is %v", err)
	}

	if after, err := Current(); err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("mounts changed: %v, %v, %v", before, after, err)
	}
}

func TestHungWorkIsLeftBehind(t *testing.T) {
	hung := make(chan struct{})
	defer close(hung)

	start := time.Now()

	err := within(50*time.Millisecond, "unmount /mnt/share", func() error { <-hung; return nil })
	if err == nil || !strings.Contains(err.Error(), "unmount /mnt/share: hangs") {
		t.Errorf("error is %v", err)
	}

	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("gave up after %s", took)
	}
}
