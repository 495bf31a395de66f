package sysctl_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/services/hostd/internal/sysctl"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"net.ipv4.ip_forward":             "proc/sys/net/ipv4/ip_forward",
		"net/ipv4/ip_forward":             "proc/sys/net/ipv4/ip_forward",
		"net.ipv4.conf.eth0/5.forwarding": "proc/sys/net/ipv4/conf/eth0.5/forwarding",
		"net/ipv4/conf/eth0.5/forwarding": "proc/sys/net/ipv4/conf/eth0.5/forwarding",
	} {
		if got := sysctl.Path(sysctl.ID(name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// A container writes what belongs to its network namespace and nothing else.
func TestPlan(t *testing.T) {
	wanted := sysctl.Wanted(&config.MachineConfig{Sysctls: map[string]string{
		"net.ipv4.ip_forward": "1", "net.ipv4.ip_local_port_range": "1024 65000", "vm.max_map_count": "262144",
	}, Sysfs: map[string]string{"block.sda.queue.scheduler": "none"}})
	current := map[string]string{
		"proc.sys.net.ipv4.ip_forward": "0", "proc.sys.net.ipv4.ip_local_port_range": "1024\t65000", "proc.sys.vm.max_map_count": "65530",
		"sys.block.sda.queue.scheduler": "mq-deadline", "proc.sys.net.core.somaxconn": "9", "proc.sys.net.ipv4.tcp_syncookies": "1",
	}
	before := map[string]string{"proc.sys.net.core.somaxconn": "4096"}

	for scope, want := range map[sysctl.Scope][]string{
		sysctl.None:       nil,
		sysctl.Namespaced: {"proc.sys.net.core.somaxconn=4096", "proc.sys.net.ipv4.ip_forward=1"},
		sysctl.All: {
			"proc.sys.net.core.somaxconn=4096", "proc.sys.net.ipv4.ip_forward=1", "proc.sys.vm.max_map_count=262144",
			"sys.block.sda.queue.scheduler=none",
		},
	} {
		var got []string
		for _, op := range sysctl.Plan(wanted, current, before, scope) {
			got = append(got, op.String())
		}

		if !slices.Equal(got, want) {
			t.Errorf("scope %d: %q, want %q", scope, got, want)
		}
	}
}

func TestKernel(t *testing.T) {
	k := sysctl.Kernel{Root: t.TempDir()}
	path := filepath.Join(k.Root, "proc/sys/net/ipv4/ip_forward")

	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(path, []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	const id = "proc.sys.net.ipv4.ip_forward"

	if value, ok, err := k.Read(id); value != "0" || !ok || err != nil {
		t.Errorf("read %q %t %v", value, ok, err)
	}

	if err := k.Set(sysctl.Op{ID: id, Value: "1"}); err != nil {
		t.Error(err)
	}

	if value, _, _ := k.Read(id); !strings.HasPrefix(value, "1") {
		t.Errorf("read %q after it was set", value)
	}

	if _, ok, err := k.Read("proc.sys.net.none"); ok || err != nil {
		t.Errorf("missing parameter: %t %v", ok, err)
	}

	for _, id := range []string{"proc.sys.////etc.passwd", "etc.passwd", "proc.sysrq-trigger", "proc.sys.//..//..etc"} {
		if err := k.Set(sysctl.Op{ID: id, Value: "1"}); err == nil {
			t.Errorf("%s is taken", id)
		}
	}
}
