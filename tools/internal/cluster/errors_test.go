package cluster_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/cluster"
	"github.com/dactyl-os/dactyl/tools/internal/cluster/command"
)

// TestBadFlags: each says what is wrong with what was given, and nothing is made.
func TestBadFlags(t *testing.T) {
	dir := t.TempDir()
	iso := filepath.Join(dir, "boot.iso")

	if err := os.WriteFile(iso, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	var said strings.Builder

	for _, flags := range []string{
		"--provisioner docker", "--provisioner qemu", "--vmlinuz-path none --iso-path none.iso", "--iso-path ISO --arch riscv64", "--iso-path ISO --memory 128", "--iso-path ISO --memory-workers 9999999",
		"--iso-path ISO --cpus two", "--iso-path ISO --cpus 0", "--iso-path ISO --cpus-workers 1000", "--iso-path ISO --disk 100", "--iso-path ISO --extra-disks -1", "--iso-path ISO --extra-disks 30",
		"--iso-path ISO --extra-disks-size -5", "--iso-path ISO --extra-disks-drivers floppy", "--iso-path ISO --config-injection-method cdrom",
		"--iso-path ISO --mtu 100", "--iso-path ISO --nameservers dns.example", "--iso-path ISO --registry-mirror docker.io", "--iso-path ISO --registry-mirror docker.io=mirror",
		"--iso-path ISO --cidr 10.5.0.0", "--iso-path ISO --cidr 10.231.5.0/30 --workers 3", "--iso-path ISO --cidr 10.96.1.0/24", "--iso-path ISO --controlplanes 0", "--iso-path ISO --workers -1",
		"--iso-path ISO --name Lab_1", "--iso-path ISO --control-plane-port 70000", "--iso-path ISO --kubeprism-port -1", "--iso-path ISO --config-patch @none.yaml",
		"--iso-path ISO --cidr 10.231.5.0/24 --config-patch nonsense:1", "--iso-path ISO --cidr 10.231.5.0/24 --config-patch machine:{type:judge}", "--iso-path ISO --cidr 127.0.0.0/8",
	} {
		args := strings.Fields("create --provisioner qemu --wait=false --state STATE --talosconfig CONFIG " + flags)
		for i := range args {
			args[i] = strings.NewReplacer("STATE", filepath.Join(dir, "state"), "CONFIG", filepath.Join(dir, "config"), "ISO", iso).Replace(args[i])
		}

		cmd := command.New()
		cmd.SetArgs(args)
		cmd.SetOut(new(bytes.Buffer))
		cmd.SilenceErrors, cmd.SilenceUsage = true, true

		err := cmd.ExecuteContext(t.Context())
		if err == nil {
			_ = cluster.Destroy(t.Context(), filepath.Join(dir, "state"), cluster.DefaultName, t.Output())

			t.Errorf("%s made a cluster", flags)
		}

		fmt.Fprintf(&said, "$ dactylctl cluster create %s\nerror: %v\n", flags, err)

		for _, path := range []string{"state/dactyl-default", "config"} {
			if _, err := os.Stat(filepath.Join(dir, path)); err == nil {
				t.Errorf("%s left %s", flags, path)
			}
		}
	}

	kittest.Golden(t, "bad-flags.txt", []byte(strings.ReplaceAll(said.String(), dir, "")))
}
