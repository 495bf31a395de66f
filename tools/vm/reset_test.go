package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// TestReset: what cannot be wiped is refused and changes nothing; a reset of EPHEMERAL keeps configuration and META; a reset
// of everything leaves a blank disk and a machine in maintenance mode.
func TestReset(t *testing.T) {
	c := start(t)
	n := c.nodes[0]
	n.ctl(t, "meta", "write", "0x0c", "kept")
	n.etcdctl(t, "put", "vm", "before")

	before, boot := keptBy(t, n), n.bootID(t)

	t.Run("refused", func(t *testing.T) {
		for _, refused := range []struct{ flags, why string }{
			{"--graceful=false --system-labels-to-wipe=EPHEMERAL,NOTHING", "/dev/vda has no partition NOTHING (it has EFI, BIOS, BOOT, META, STATE, EPHEMERAL)"},
			{"--graceful=false --user-disks-to-wipe=/dev/vdz", "there is no disk /dev/vdz"},
			{"--graceful=false --user-disks-to-wipe=/dev/vda", "/dev/vda is the system disk, not a user disk"},
			{"--system-labels-to-wipe=EPHEMERAL", "the only member of the etcd cluster"},
		} {
			r := n.try(t, append([]string{"reset", "--reboot"}, strings.Fields(refused.flags)...)...)
			if r.Err == nil || !strings.Contains(r.Stderr, refused.why) {
				t.Errorf("reset %s: %s, want %q", refused.flags, r, refused.why)
			}
		}

		if now := keptBy(t, n); now != before || n.bootID(t) != boot {
			t.Fatalf("refused resets changed something: %+v, before: %+v", now, before)
		}
	})

	t.Run("EPHEMERAL", func(t *testing.T) {
		mark := n.mark(t)
		n.reset(t, "back and ready", "--graceful=false", "--reboot", "--system-labels-to-wipe=EPHEMERAL")
		n.wentDown(t, mark)

		if log := n.ctl(t, "logs", "diskd"); strings.Contains(log, "step=\"wipe") {
			t.Errorf("EPHEMERAL was left to the next start to wipe:\n%s", log)
		}

		if r := n.try(t, "service", "etcd"); !strings.Contains(r.Stdout, "Preparing") {
			t.Errorf("etcd after a reset: %s", r)
		}

		n.bootstrap(t)

		before.etcd = ""

		if now := keptBy(t, n); now != before {
			t.Errorf("after a reset of EPHEMERAL: %+v, before: %+v", now, before)
		}
	})

	t.Run("everything", func(t *testing.T) {
		mark := n.mark(t)
		n.reset(t, "back, in maintenance mode", "--graceful=false", "--reboot")
		n.wentDown(t, mark)
		n.blank(t, 0)

		if out := n.insecure(t, "get", "volumestatus", "STATE", "-o", "jsonpath={.spec.phase}"); out != "missing\n" {
			t.Errorf("STATE is %s", out)
		}

		if out := n.insecure(t, "disks"); !strings.Contains(out, "/dev/vda") || strings.HasSuffix(strings.TrimSpace(out), "*") {
			t.Errorf("disks in maintenance mode:\n%s", out)
		}
	})
}

// TestLongResetOfUserDisks: a user disk alone is wiped and made anew; a machine that lost only STATE is in maintenance mode,
// and reset there; without --reboot it stays off, wiped, and starts in maintenance mode.
func TestLongResetOfUserDisks(t *testing.T) {
	flags := []string{"--extra-disks", "2", "--extra-disks-size", "1024", "--config-patch", userDisk}
	c := start(t, flags...)
	n := c.nodes[0]
	n.ctl(t, "meta", "write", "0x0c", "kept")
	n.etcdctl(t, "put", "vm", "before")
	n.awaitVolumes(t, "/dev/vdb-1", "/dev/vdb-2")

	before, one := keptBy(t, n), n.filesystem(t, 1, "user-1")

	t.Run("user disk", func(t *testing.T) {
		mark := n.mark(t)
		n.reset(t, "back and ready", "--reboot", "--wipe-mode=user-disks", "--user-disks-to-wipe=/dev/vdb")
		n.wentDown(t, mark)
		n.awaitVolumes(t, "EPHEMERAL", "/dev/vdb-1", "/dev/vdb-2")

		kittest.AwaitNoError(t, bootLimit, func() error {
			if r := n.try(t, "etcd", "status"); r.Err != nil {
				return fmt.Errorf("etcd is not back: %s", r)
			}

			return nil
		})

		if now := keptBy(t, n); now != before {
			t.Errorf("after a reset of a user disk: %+v, before: %+v", now, before)
		}

		if now := n.filesystem(t, 1, "user-1"); now.uuid == one.uuid || now.kind != "ext4" {
			t.Errorf("the user disk was not wiped: %+v, before: %+v", now, one)
		}
	})

	t.Run("STATE", func(t *testing.T) {
		n.reset(t, "back, in maintenance mode", "--graceful=false", "--reboot", "--system-labels-to-wipe=STATE")

		if out := n.insecure(t, "get", "metakeys", "0x0c", "-o", "jsonpath={.spec.value}"); out != "kept\n" {
			t.Errorf("META is %q", out)
		}
	})

	t.Run("maintenance", func(t *testing.T) {
		if r := n.tryInsecure(t, "reset", "--system-labels-to-wipe=NOTHING"); r.Err == nil || !strings.Contains(r.Stderr, "has no partition NOTHING") {
			t.Errorf("an unknown label: %s", r)
		}

		n.insecure(t, "reset", "--wait=false", "--user-disks-to-wipe=/dev/vdb,/dev/vdc")
		n.awaitOff(t)

		for disk := range 3 {
			n.blank(t, disk)
		}

		n.powerOn(t)
		n.awaitMaintenance(t)
	})
}

// TestLongResetLeavesEtcd: of two control planes one is reset; etcd goes on with the other.
func TestLongResetLeavesEtcd(t *testing.T) {
	c := start(t, "--controlplanes", "2", "--memory", "1536")
	first, second := c.nodes[0], c.nodes[1]
	first.etcdctl(t, "put", "vm", "before")

	second.reset(t, "back, in maintenance mode", "--reboot")

	if members := first.ctl(t, "etcd", "members"); strings.Contains(members, second.Name) || !strings.Contains(members, first.Name) {
		t.Errorf("members after one was reset:\n%s", members)
	}

	if now := first.etcdctl(t, "get", "--print-value-only", "vm"); now != "before\n" {
		t.Errorf("etcd's data: %q", now)
	}
}

// bootstrap makes etcd's first member, once the node is ready for it, and waits until it answers.
func (n *node) bootstrap(t *testing.T) {
	t.Helper()

	asked := false

	kittest.AwaitNoError(t, bootLimit, func() error {
		if !asked {
			if r := n.try(t, "bootstrap"); r.Err != nil {
				return fmt.Errorf("no bootstrap: %s", r)
			}

			asked = true
		}

		if r := n.try(t, "etcd", "status"); r.Err != nil {
			return fmt.Errorf("etcd is not back: %s", r)
		}

		return nil
	})
}

// reset runs the command until it says that the node is back, or off, and by which way.
func (n *node) reset(t *testing.T, end string, flags ...string) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()

	args := append([]string{"--context", n.of.name, "-e", n.Address, "-n", n.Address, "reset", "--timeout", bootLimit.String()}, flags...)
	if r := outside.Dactylctl(ctx, args...); r.Err != nil || !strings.HasSuffix(strings.TrimSpace(r.Stderr), n.Address+": "+end) {
		t.Fatalf("%s, want %q", r, end)
	}
}

// wentDown: the way down since the mark was orderly.
func (n *node) wentDown(t *testing.T, mark int) {
	t.Helper()

	down, _, _ := strings.Cut(n.console(t, mark), "supervisor: boot")
	if strings.Contains(down, "by force") || strings.Contains(down, "did not stop") || strings.Contains(down, "left behind") {
		t.Errorf("the way down was not orderly:\n%s", down)
	}
}

// blank looks at a disk's image: both ends hold nothing, and no tool finds anything.
func (n *node) blank(t *testing.T, index int) {
	t.Helper()

	const edge = 1 << 20

	f, err := os.Open(n.DiskPath(index))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}

	for _, offset := range []int64{0, size - edge} {
		data := make([]byte, edge)
		if _, err := f.ReadAt(data, offset); err != nil {
			t.Fatal(err)
		}

		if len(bytes.Trim(data, "\x00")) > 0 {
			t.Errorf("%s is not blank at %d", n.DiskPath(index), offset)
		}
	}

	if r := outside.Run(t.Context(), "blkid", "--probe", n.DiskPath(index)); r.Err == nil {
		t.Errorf("blkid finds %s", r)
	}
}
