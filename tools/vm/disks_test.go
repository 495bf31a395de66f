package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const (
	gib = 1 << 30
	// sectorSize is that of QEMU's disks.
	sectorSize = 512
)

// userDisk is a second disk with two partitions that are mounted below EPHEMERAL.
const userDisk = `machine:
  disks:
    - device: /dev/vdb
      partitions:
        - {mountpoint: /var/mnt/one, size: 256MiB}
        - {mountpoint: /var/mnt/two}
`

// TestLongUserDisks: machine.disks are partitioned, formatted and mounted, and kept over a reboot and a power-off; a system
// disk that became larger meanwhile is used up, with what was on it.
func TestLongUserDisks(t *testing.T) {
	flags := []string{"--extra-disks", "1", "--extra-disks-size", "1024", "--config-patch", userDisk}
	c := start(t, flags...)
	n := c.nodes[0]
	n.etcdctl(t, "put", "vm", "before")

	mounted := func() {
		t.Helper()
		n.awaitVolumes(t, "/dev/vdb-1", "/dev/vdb-2", "EPHEMERAL")

		mounts := n.ctl(t, "mounts")
		for source, target := range map[string]string{"/dev/vdb1": "/var/mnt/one", "/dev/vdb2": "/var/mnt/two"} {
			if !strings.Contains(mounts, source+" ") || !strings.Contains(mounts, " "+target+"\n") {
				t.Errorf("%s is not mounted at %s:\n%s", source, target, mounts)
			}
		}
	}
	mounted()

	one, two := n.filesystem(t, 1, "user-1"), n.filesystem(t, 1, "user-2")
	if one.size != 256<<20 || two.size < 700<<20 || one.kind != "ext4" || two.kind != "ext4" {
		t.Errorf("partitions of /dev/vdb: %+v %+v", one, two)
	}

	t.Run("reboot", func(t *testing.T) {
		boot := n.bootID(t)
		n.ctl(t, "reboot", "--wait=false")
		n.awaitBoot(t, boot)
		mounted()

		if now := n.filesystem(t, 1, "user-1"); now != one {
			t.Errorf("after a reboot %+v, before %+v", now, one)
		}
	})

	t.Run("larger disk", func(t *testing.T) {
		ephemeral := n.filesystem(t, 0, "EPHEMERAL")

		n.powerOff(t)
		n.write(t, 1, "user-1", "kept", "from before")
		n.enlarge(t, 0, gib)
		n.powerOn(t)
		mounted()

		if now := n.ctl(t, "read", "/var/mnt/one/kept"); now != "from before" {
			t.Errorf("a file of the user disk: %q", now)
		}

		if now := n.etcdctl(t, "get", "--print-value-only", "vm"); now != "before\n" {
			t.Errorf("etcd's data: %q", now)
		}

		now := n.filesystem(t, 0, "EPHEMERAL")
		if now.uuid != ephemeral.uuid || now.size < ephemeral.size+gib-16<<20 || now.used < now.size-16<<20 {
			t.Errorf("EPHEMERAL of a larger disk %+v, before %+v", now, ephemeral)
		}
	})
}

// TestLongVolumeConfig: EPHEMERAL goes where its selector says, and grows with its disk no further than it may.
func TestLongVolumeConfig(t *testing.T) {
	flags := []string{"--extra-disks", "1", "--extra-disks-size", "2560", "--config-patch", `apiVersion: v1alpha1
kind: VolumeConfig
name: EPHEMERAL
provisioning:
  diskSelector: {match: '!system_disk && disk.size > 2u * GiB && disk.transport == "virtio"'}
  minSize: 2GiB
  maxSize: 3GiB
`}
	c := start(t, flags...)
	n := c.nodes[0]
	n.awaitVolumes(t, "EPHEMERAL")
	n.etcdctl(t, "put", "vm", "before")

	before := n.filesystem(t, 1, "EPHEMERAL")
	if before.size < 2500<<20 || before.size > 2560<<20 {
		t.Errorf("EPHEMERAL of a disk of 2560 MiB: %+v", before)
	}

	if table := n.table(t, 0); strings.Contains(table, "EPHEMERAL") {
		t.Errorf("EPHEMERAL is on the system disk, too:\n%s", table)
	}

	n.powerOff(t)
	n.enlarge(t, 1, 2*gib)
	n.powerOn(t)
	n.awaitVolumes(t, "EPHEMERAL")

	if now := n.filesystem(t, 1, "EPHEMERAL"); now.size != 3*gib || now.used < 3*gib-16<<20 || now.uuid != before.uuid {
		t.Errorf("EPHEMERAL of a disk of 4608 MiB: %+v, before %+v", now, before)
	}

	if now := n.etcdctl(t, "get", "--print-value-only", "vm"); now != "before\n" {
		t.Errorf("etcd's data: %q", now)
	}
}

// awaitVolumes waits until the node answers and says that these are ready.
func (n *node) awaitVolumes(t *testing.T, ids ...string) {
	t.Helper()
	kittest.AwaitNoError(t, bootLimit, func() error {
		for _, id := range ids {
			if r := n.try(t, "get", "volumestatus", id, "-o", "jsonpath={.spec.phase}"); r.Stdout != "ready\n" {
				return fmt.Errorf("%s of %s is not ready: %s", id, n.Name, r)
			}
		}

		return nil
	})
}

// powerOff shuts the machine down and waits until its QEMU has ended.
func (n *node) powerOff(t *testing.T) {
	t.Helper()
	n.ctl(t, "shutdown", "--wait=false")
	n.awaitOff(t)
}

func (n *node) awaitOff(t *testing.T) {
	t.Helper()
	kittest.AwaitNoError(t, bootLimit, func() error {
		if pid, err := n.InitPID(); err == nil {
			return fmt.Errorf("%s is still on: QEMU is %d", n.Name, pid)
		}

		return nil
	})
}

// enlarge makes the image of a disk larger; the machine must be off.
func (n *node) enlarge(t *testing.T, disk int, by int64) {
	t.Helper()

	info, err := os.Stat(n.DiskPath(disk))
	if err == nil {
		err = os.Truncate(n.DiskPath(disk), info.Size()+by)
	}

	if err != nil {
		t.Fatal(err)
	}
}

func (n *node) table(t *testing.T, disk int) string {
	t.Helper()

	return outside.Must(t, outside.Run(t.Context(), "sgdisk", "--print", n.DiskPath(disk)))
}

// filesystem is a partition as ordinary tools see it in the image: its size, and how much of it the filesystem uses.
type filesystem struct {
	kind, uuid string
	size, used int64
}

func (n *node) filesystem(t *testing.T, disk int, label string) filesystem {
	t.Helper()

	first, last := n.extent(t, disk, label)
	out := filesystem{size: (last - first + 1) * sectorSize}

	probed := outside.Must(t, outside.Run(t.Context(), "blkid", "--probe", "--output", "export", "--offset", fmt.Sprint(first*sectorSize), n.DiskPath(disk)))

	values := map[string]string{}
	for line := range strings.Lines(probed) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[key] = value
	}

	out.kind, out.uuid, out.used = values["TYPE"], values["UUID"], n.blocks(t, disk, first)

	return out
}

// blocks is the size of an ext4 filesystem as its superblock says.
func (n *node) blocks(t *testing.T, disk int, sector int64) int64 {
	t.Helper()

	var count, size int64

	header := outside.Must(t, outside.Run(t.Context(), "dumpe2fs", "-h", fmt.Sprintf("%s?offset=%d", n.DiskPath(disk), sector*sectorSize)))
	for line := range strings.Lines(header) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "Block count":
			count, _ = strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		case "Block size":
			size, _ = strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}

	return count * size
}

// extent is a partition's first and last sector.
func (n *node) extent(t *testing.T, disk int, label string) (first, last int64) {
	t.Helper()

	first, last, err := partition(n.table(t, disk), label)
	if err != nil {
		t.Fatal(err)
	}

	return first, last
}

// write puts a file into a filesystem of a machine that is off.
func (n *node) write(t *testing.T, disk int, label, name, content string) {
	t.Helper()

	source := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(source, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}

	first, _ := n.extent(t, disk, label)
	outside.Must(t, outside.Run(t.Context(), "debugfs", "-w", "-R", "write "+source+" "+name, fmt.Sprintf("%s?offset=%d", n.DiskPath(disk), first*sectorSize)))
}
