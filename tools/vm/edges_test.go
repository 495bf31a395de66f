package vm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/cluster"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// hangLimit is how long a way down may take, whatever hangs.
const hangLimit = 30 * time.Second

// mayBeLost is how much of the daemons' logs a crash may cost, twice: machines are slow here.
const mayBeLost = 10 * time.Second

// TestLongWaysDown takes one machine down in every way there is. Each time the next boot tells how the one before ended and
// has its logs, and the provisioner knows whether the machine is on.
func TestLongWaysDown(t *testing.T) {
	c := start(t, "--extra-boot-kernel-args", "unknown_nmi_panic")
	n := c.nodes[0]
	t.Run("hardened", func(t *testing.T) { hardened(t, n) })
	t.Run("monitor", func(t *testing.T) {
		if said := n.monitor(t, "info status", "info name"); said != "VM status: running\n"+n.Name+"\n" {
			t.Errorf("monitor: %q", said)
		}
	})
	for _, way := range []struct {
		name string
		down func(*testing.T, *node)
		// told is what the next boot says of this one's end; crash is in what the kernel saved.
		told, crash string
	}{
		{"ctrl-alt-del", keys, "reboot: ctrl-alt-del", ""},
		{"kernel panic", panics, "kernel crash", "Kernel panic - not syncing: NMI"},
		{"unmount hangs", hangs, "", ""},
		{"power button", pressed, "power off: power button", ""},
		{"shutdown", shutDown, "power off: ", ""},
	} {
		ok := t.Run(way.name, func(t *testing.T) {
			n.awaitLog(t, "etcdd", "level=")
			time.Sleep(mayBeLost) // nothing tells from outside what is on the disk
			boot, mark := n.bootID(t), n.mark(t)
			way.down(t, n)
			n.awaitBoot(t, boot)
			told := n.awaitConsole(t, mark, "the boot before ended with")
			if !strings.Contains(told, way.told) {
				t.Errorf("the console says %q, not %q", told, way.told)
			}
			if shown := n.ctl(t, "service", "init"); !strings.Contains(shown, "The boot before ended with "+way.told) {
				t.Errorf("`service init` does not show %q:\n%s", way.told, shown)
			}
			before(t, n, way.crash)
		})
		if !ok {
			return // the next way would start from nowhere
		}
	}
}

// before looks into the logs of the boot before, which are there once EPHEMERAL is mounted.
func before(t *testing.T, n *node, crash string) {
	t.Helper()
	n.awaitLog(t, "kernel.prev", "Linux version")
	n.awaitLog(t, "etcdd.prev", "level=")
	if crash == "" {
		return
	}
	if text := n.ctl(t, "logs", "kernel.crash"); !strings.Contains(text, crash) {
		t.Errorf("logs kernel.crash has no %q in %d bytes", crash, len(text))
	}
}

func (n *node) awaitLog(t *testing.T, name, want string) {
	t.Helper()
	kittest.AwaitNoError(t, bootLimit, func() error {
		if r := n.try(t, "logs", name); !strings.Contains(r.Stdout, want) {
			return fmt.Errorf("logs %s has no %q in %d bytes: %s", name, want, len(r.Stdout), r.Stderr)
		}

		return nil
	})
}

func keys(t *testing.T, n *node) { n.monitor(t, "sendkey ctrl-alt-delete") }

// panics has the kernel panic, which it ends by itself after panic=1; with panic=0 it would stay there.
func panics(t *testing.T, n *node) {
	mark := n.mark(t)
	n.monitor(t, "nmi")
	n.awaitConsole(t, mark, "Kernel panic - not syncing: NMI")
	n.awaitConsole(t, mark, "supervisor: the machine ended: reset")
}

// hangs lets the disk do one operation a second: file systems cannot be unmounted in time.
func hangs(t *testing.T, n *node) {
	mark := n.mark(t)
	n.monitor(t, "block_set_io_throttle disk0 0 0 0 1 0 0")
	start := time.Now()
	n.ctl(t, "reboot", "--wait=false")
	n.awaitConsole(t, mark, "by force: something hangs")
	n.awaitConsole(t, mark, "supervisor: the machine ended: reset")
	if took := time.Since(start); took > hangLimit+5*time.Second { // the call and QEMU's end are not init's
		t.Errorf("down after %s", took)
	} else {
		t.Logf("down after %s", took.Round(100*time.Millisecond))
	}
}

func pressed(t *testing.T, n *node) {
	n.monitor(t, "system_powerdown")
	n.stopped(t)
	n.powerOn(t)
}

func shutDown(t *testing.T, n *node) {
	n.ctl(t, "shutdown", "--wait=false")
	n.stopped(t)
	n.powerOn(t)
}

// stopped waits until the machine is off and the provisioner says so.
func (n *node) stopped(t *testing.T) {
	t.Helper()
	kittest.AwaitNoError(t, time.Minute, func() error {
		if condition := n.Condition(); condition != cluster.Off {
			return fmt.Errorf("%s is %s", n.Name, condition)
		}

		return nil
	})
	shown := outside.Must(t, n.of.cluster(t.Context(), "show"))
	for line := range strings.Lines(shown) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[0] == n.Name && fields[3] == "stopped" {
			return
		}
	}
	t.Errorf("`cluster show` does not tell that %s is stopped:\n%s", n.Name, shown)
}

// hardened reads some of what the Kernel Self Protection Project recommends, as the kernel has it and as a resource.
func hardened(t *testing.T, n *node) {
	for name, want := range map[string]string{
		"kernel/kptr_restrict": "1", "kernel/dmesg_restrict": "1", "kernel/unprivileged_bpf_disabled": "1", "kernel/yama/ptrace_scope": "1",
		"kernel/kexec_load_disabled": "1", "kernel/randomize_va_space": "2", "net/core/bpf_jit_harden": "2", "fs/protected_fifos": "2", "vm/mmap_min_addr": "65536",
		"net/ipv4/ip_forward": "1", // asks for more than root
		"kernel/panic":        "1", // of the command line
	} {
		if got := strings.TrimSpace(n.ctl(t, "read", "/proc/sys/"+name)); got != want {
			t.Errorf("%s is %s, not %s", name, got, want)
		}
	}
	status := n.ctl(t, "get", "kernelparamstatus", "proc.sys.kernel.kptr_restrict", "-o", "jsonpath={.spec.current}")
	if strings.TrimSpace(status) != "1" {
		t.Errorf("resource of kptr_restrict: %s", status)
	}
	line := n.ctl(t, "read", "/proc/cmdline")
	for _, want := range []string{"init_on_alloc=1", "slab_nomerge", "panic=1"} {
		if !strings.Contains(" "+strings.TrimSpace(line)+" ", " "+want+" ") {
			t.Errorf("the command line has no %s: %s", want, line)
		}
	}
}

// TestLongRefusedPlatform: a platform that is not here yet is refused where people look, and the node can still be configured.
func TestLongRefusedPlatform(t *testing.T) {
	c := start(t, "--skip-injecting-config", "--extra-boot-kernel-args", "talos.platform=aws")
	n := c.nodes[0]
	n.awaitMaintenance(t)
	told := n.awaitConsole(t, 0, "talos.platform=aws is not supported yet")
	t.Log(told)
}
