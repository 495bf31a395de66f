package volume_test

import (
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
)

func TestFromConfig(t *testing.T) {
	cfg, err := volume.Load([]byte(`version: v1alpha1
machine:
  install: {disk: /dev/vda, wipe: true}
  disks:
    - device: /dev/vdb
      partitions: [{size: 1GiB, mountpoint: /var/mnt/a}, {mountpoint: /var/mnt/b}]
---
apiVersion: v1alpha1
kind: VolumeConfig
name: EPHEMERAL
provisioning: {minSize: 4GiB, maxSize: 8GiB, grow: false, diskSelector: {match: "!system_disk"}}
`))
	if err != nil {
		t.Fatal(err)
	}

	if cfg.Install.Disk != "/dev/vda" || !cfg.Install.Wipe || len(cfg.Volumes) != 8 {
		t.Errorf("%+v", cfg)
	}

	if e := cfg.Volumes[5]; e.Min != 4<<30 || e.Max != 8<<30 || e.Grow || e.Selector.String() != "!system_disk" {
		t.Errorf("%+v", e)
	}

	if u := cfg.Volumes[6]; u.ID != "/dev/vdb-1" || u.Min != 1<<30 || u.Max != 1<<30 || u.Grow || u.Mount != "/var/mnt/a" {
		t.Errorf("%+v", u)
	}

	if u := cfg.Volumes[7]; u.Max != 0 || !u.Grow || u.Label != "user-2" {
		t.Errorf("%+v", u)
	}

	// What one configuration changes is not changed in the next.
	if e := volume.System()[5]; e.Selector != nil || !e.Grow {
		t.Errorf("%+v", e)
	}
}

func TestErrors(t *testing.T) {
	document := "machine: {}\n---\napiVersion: v1alpha1\nkind: VolumeConfig\n"

	for text, want := range map[string]string{
		document + "name: STATE\n": `VolumeConfig "STATE": only EPHEMERAL can be configured`,
		document + "name: EPHEMERAL\nprovisioning: {diskSelector: {match: disk.model.matches('x')}}\n":              "the method matches is not supported",
		"machine: {disks: [{device: /dev/vdb, partitions: [{mountpoint: /}]}]}":                                     "nothing can be mounted over /",
		"machine: {disks: [{device: /dev/vdb, partitions: [{mountpoint: /var/a}, {mountpoint: /var/b}]}]}":          "partition 1 takes what is left",
		"machine: {systemDiskEncryption: {state: {provider: luks2, keys: [{slot: 0, static: {passphrase: abc}}]}}}": "encrypted volumes are not supported yet",
		"machine: {nonsense: 1}": "nonsense",
	} {
		if _, err := volume.Load([]byte("version: v1alpha1\n" + text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
