package vm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// kept is what a node must not lose between two boots.
type kept struct{ identity, config, meta, etcd string }

func keptBy(t *testing.T, n *node) kept {
	t.Helper()
	sum := sha256.Sum256([]byte(n.ctl(t, "read", "/system/state/config.yaml")))
	k := kept{
		identity: strings.TrimSpace(n.ctl(t, "get", "identities", "-o", "jsonpath={.spec.nodeId}")),
		config:   hex.EncodeToString(sum[:]),
		meta:     strings.TrimSpace(n.ctl(t, "get", "metakeys", "0x0c", "-o", "jsonpath={.spec.value}")),
	}
	if n.Type == "controlplane" {
		k.etcd = strings.TrimSpace(n.etcdctl(t, "get", "--print-value-only", "vm"))
	}

	return k
}

// TestMaintenanceToRunning: from nothing to two machines that are configured through maintenance mode, whose partitions an
// ordinary tool sees, and which are the same after a reboot and after a reset by the monitor. What the machines say of
// their hardware agrees with the command line of QEMU.
func TestMaintenanceToRunning(t *testing.T) {
	c := start(t, "--workers", "1", "--extra-disks", "1", "--extra-disks-size", "1024", "--cpus-workers", "1", "--memory-workers", "1536")
	for _, n := range c.nodes {
		n.awaitConsole(t, 0, "maintenance")
		if out := n.ctl(t, "version"); strings.Count(out, "NODE:") != 1 {
			t.Errorf("version of %s:\n%s", n.Name, out)
		}
		n.ctl(t, "meta", "write", "0x0c", "of "+n.Name)
	}
	c.nodes[0].etcdctl(t, "put", "vm", "before")

	t.Run("disks", func(t *testing.T) { partitioned(t, c) })
	t.Run("hardware", func(t *testing.T) { hardware(t, c) })

	before := map[*node]kept{}
	for _, n := range c.nodes {
		before[n] = keptBy(t, n)
		if k := before[n]; k.identity == "" || k.meta != "of "+n.Name || n.Type == "controlplane" && k.etcd != "before" {
			t.Fatalf("%s before: %+v", n.Name, k)
		}
	}
	for _, step := range []struct {
		name string
		do   func(n *node)
	}{
		{"reboot", func(n *node) { n.ctl(t, "reboot", "--wait=false") }},
		{"monitor q", func(n *node) { n.monitor(t, "q") }},
	} {
		t.Run(step.name, func(t *testing.T) {
			boots := map[*node]string{}
			for _, n := range c.nodes {
				boots[n] = n.bootID(t)
				step.do(n)
			}
			for _, n := range c.nodes {
				n.awaitBoot(t, boots[n])
				n.awaitRunning(t)
				if now := keptBy(t, n); now != before[n] {
					t.Errorf("%s after %s: %+v, before: %+v", n.Name, step.name, now, before[n])
				}
			}
		})
	}
}

// partitioned looks at the disk images with ordinary tools; running machines only read them, and so do these.
func partitioned(t *testing.T, c *machines) {
	for _, n := range c.nodes {
		image := n.DiskPath(0)
		table := outside.Must(t, outside.Run(t.Context(), "sgdisk", "--print", image))
		for _, name := range []string{"EFI", "BIOS", "BOOT", "META", "STATE", "EPHEMERAL"} {
			if !strings.Contains(table, " "+name+"\n") {
				t.Errorf("%s has no partition %s:\n%s", n.Name, name, table)
			}
		}
		for name, kind := range map[string]string{"STATE": "ext4", "EPHEMERAL": "ext4"} {
			first, _, err := partition(table, name)
			if err != nil {
				t.Error(err)

				continue
			}
			probed := outside.Must(t, outside.Run(t.Context(), "blkid", "--probe", "--offset", fmt.Sprint(first*512), image))
			if !strings.Contains(probed, fmt.Sprintf(" LABEL=%q", name)) || !strings.Contains(probed, fmt.Sprintf(" TYPE=%q", kind)) {
				t.Errorf("%s of %s: %s", name, n.Name, probed)
			}
		}
	}
}

// partition gives a partition's first and last sector in what sgdisk printed.
func partition(table, name string) (first, last int64, err error) {
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[len(fields)-1] == name {
			_, err = fmt.Sscan(fields[1]+" "+fields[2], &first, &last)

			return first, last, err
		}
	}

	return 0, 0, fmt.Errorf("no partition %s in\n%s", name, table)
}
