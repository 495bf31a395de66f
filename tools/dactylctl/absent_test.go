package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// remote are the arguments of every command that asks a node, and local those that do not.
var (
	remote = map[string]string{
		"apply-config": "-f worker.yaml", "bootstrap": "", "config new": "new.conf", "containers": "", "copy": "/etc out", "disks": "", "dmesg": "", "edit": "mc",
		"etcd alarm disarm": "", "etcd alarm list": "", "etcd defrag": "", "etcd forfeit-leadership": "", "etcd leave": "", "etcd members": "", "etcd rejoin": "",
		"etcd remove-member": "1", "etcd snapshot": "db", "etcd status": "", "events": "", "get": "links", "inspect dependencies": "", "restart": "networkd", "health": "--wait-timeout 1s", "list": "/etc",
		"logs": "etcd", "memory": "", "meta delete": "0x0a", "meta write": "0x0a x", "mounts": "", "netstat": "", "patch": "mc -p {}", "pcap": "", "processes": "", "read": "/etc/hosts",
		"reboot": "", "reset": "", "rotate-ca": "", "service": "", "shutdown": "", "stats": "", "support": "", "time": "", "usage": "/etc", "version": "",
	}
	local = []string{"cluster", "completion", "config", "gen", "help", "image", "machineconfig", "validate"}
)

// TestAbsentNodes: whatever is asked of a node that cannot be asked, the error names that node and what to do next, nobody else is
// blamed, and no word of progress comes before it.
func TestAbsentNodes(t *testing.T) {
	start(t, &fake{})
	leave := enter(t)
	defer leave()
	if err := os.WriteFile("worker.yaml", []byte(machineConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	var golden strings.Builder
	for _, path := range leaves((&app{}).root()) {
		name := strings.Join(path[1:], " ")
		args, asks := remote[name]
		if !asks {
			if !slices.Contains(local, path[1]) {
				t.Errorf("%s: add it to the commands of this test", name)
			}

			continue
		}
		for node := range absent {
			t.Run(name+" "+node, func(t *testing.T) {
				got := session(t, append([]string{"-n", node}, strings.Fields(name+" "+args)...)...)
				_, said, _ := strings.Cut(got, "--- stderr\n")
				first, _, _ := strings.Cut(said, "\n")
				if !strings.HasPrefix(first, "error: ") && name != "health" || !strings.Contains(said, node) || strings.Contains(said, "127.0.0.1") || !strings.Contains(got, "(exit code 1)") {
					t.Error(got)
				}
				if name != "health" && !strings.Contains(said, "next: ") {
					t.Errorf("no next step: %s", got)
				}
			})
		}
		if name == "get" {
			for _, node := range []string{"10.0.0.17", "10.0.0.18", "10.0.0.19", "nowhere"} {
				golden.WriteString(session(t, "-n", node, "get", "links") + "\n")
			}
		}
	}
	if left, _ := filepath.Glob("*"); !slices.Equal(left, []string{"worker.yaml"}) {
		t.Errorf("left behind: %v", left)
	}
	leave()
	kittest.Golden(t, "absent.txt", []byte(golden.String()))
}

// TestARestartIsInvisible: what may be asked twice is asked again, a stream too; what may not is told.
func TestARestartIsInvisible(t *testing.T) {
	f := &fake{}
	start(t, f)
	for command, want := range map[string]string{"read /x": "the same boot", "version --short": "v1.8.0", "service etcd restart": "hostd was restarted"} {
		f.restarting.Store(2)
		if got := session(t, strings.Fields(command)...); !strings.Contains(got, want) || strings.Contains(got, "exit code") != strings.Contains(want, "hostd") {
			t.Error(got)
		}
	}
}

// TestCapture: the node's bytes go into the file as they are.
func TestCapture(t *testing.T) {
	start(t, &fake{})
	defer enter(t)()
	if got := session(t, "-n", "10.0.0.1", "pcap", "-o", "a.pcap"); strings.Contains(got, "error") {
		t.Error(got)
	}
	if got := must(os.ReadFile("a.pcap"))(t); !slices.Equal(got, recorded(ipv4(1, 8, 0))) {
		t.Errorf("%x", got)
	}
	if got := session(t, "pcap", "-o", "a.pcap"); !strings.Contains(got, "is there already") {
		t.Error(got)
	}
}
