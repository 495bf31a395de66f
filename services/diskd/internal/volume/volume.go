// Package volume is what is wanted of the disks: the system's volumes and those of the machine configuration. It is pure.
package volume

import (
	"errors"
	"fmt"
	"path"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/selector"
)

// Names of the system's volumes, which are their partitions' labels too.
const (
	EFI       = "EFI"
	BIOS      = "BIOS"
	Boot      = "BOOT"
	Meta      = "META"
	State     = "STATE"
	Ephemeral = "EPHEMERAL"
)

// Partition types, from the UEFI specification and the Discoverable Partitions Specification.
const (
	typeEFI   = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	typeBIOS  = "21686148-6449-6e6f-744e-656564454649"
	typeLinux = "0fc63daf-8483-4772-8e79-3d69d8477de4"
)

// Ext4 is the one filesystem that volumes are given.
const Ext4 = "ext4"

const mib = 1 << 20

// Volume is a partition that is wanted.
type Volume struct {
	ID, Label, Type string
	Filesystem      string // Ext4, or "" for none
	Mount           string // target
	MountOptions    []string
	Device          string             // a user volume's disk
	Selector        *selector.Selector // nil: the system disk
	Min, Max        uint64             // bytes; Max 0 is no limit
	Grow            bool
	// NeedsConfig: the volume is not used before there is a machine configuration.
	NeedsConfig bool
	Index       int // the partition's number on a user disk
}

// Install is machine.install.
type Install struct {
	Disk     string
	Selector *config.InstallDiskSelector
	Wipe     bool
}

// Config is what the machine configuration says about disks.
type Config struct {
	Install Install
	Volumes []Volume
}

// System gives the system's volumes in the order of their partitions.
func System() []Volume {
	return []Volume{
		{ID: EFI, Label: EFI, Type: typeEFI, Min: 100 * mib, Max: 100 * mib},
		{ID: BIOS, Label: BIOS, Type: typeBIOS, Min: mib, Max: mib},
		{ID: Boot, Label: Boot, Type: typeLinux, Min: 1000 * mib, Max: 1000 * mib},
		{ID: Meta, Label: Meta, Type: typeLinux, Min: mib, Max: mib},
		{
			ID: State, Label: State, Type: typeLinux, Min: 100 * mib, Max: 100 * mib,
			Filesystem: Ext4, Mount: "/system/state", MountOptions: []string{"nosuid", "nodev", "noexec"},
		},
		{
			ID: Ephemeral, Label: Ephemeral, Type: typeLinux, Min: 2048 * mib, Grow: true,
			Filesystem: Ext4, Mount: "/var", NeedsConfig: true,
		},
	}
}

// Load reads what a machine configuration wants.
func Load(data []byte) (*Config, error) {
	parsed, err := config.Load(data)
	if err != nil {
		return nil, fmt.Errorf("read machine configuration: %w", err)
	}

	return FromConfig(parsed)
}

// FromConfig gives what a machine configuration wants.
func FromConfig(parsed *config.Config) (*Config, error) {
	out := &Config{Volumes: System()}

	for _, doc := range parsed.Documents {
		if d, ok := doc.(*config.VolumeConfig); ok {
			if err := out.provision(d); err != nil {
				return nil, err
			}
		}
	}

	if parsed.V1Alpha1 == nil || parsed.V1Alpha1.Machine == nil {
		return out, nil
	}

	machine := parsed.V1Alpha1.Machine

	if i := machine.Install; i != nil {
		out.Install = Install{Disk: i.Disk, Selector: i.DiskSelector, Wipe: i.Wipe != nil && *i.Wipe}
	}

	if e := machine.SystemDiskEncryption; e != nil && (e.State != nil || e.Ephemeral != nil) {
		return nil, errors.New("machine.systemDiskEncryption: encrypted volumes are not supported yet")
	}

	return out, out.userDisks(machine.Disks)
}

// provision applies a VolumeConfig document.
func (c *Config) provision(d *config.VolumeConfig) error {
	for i := range c.Volumes {
		v := &c.Volumes[i]
		if v.ID != d.Name || v.ID != Ephemeral {
			continue
		}

		p := d.Provisioning
		if p == nil {
			return nil
		}

		if p.MinSize != 0 {
			v.Min = uint64(p.MinSize)
		}

		v.Max = uint64(p.MaxSize)

		if p.Grow != nil {
			v.Grow = *p.Grow
		}

		if p.DiskSelector == nil {
			return nil
		}

		var err error
		if v.Selector, err = selector.Parse(p.DiskSelector.Match); err != nil {
			return fmt.Errorf("VolumeConfig %s: %w", d.Name, err)
		}

		return nil
	}

	return fmt.Errorf("VolumeConfig %q: only %s can be configured", d.Name, Ephemeral)
}

// userDisks adds the volumes of machine.disks.
func (c *Config) userDisks(disks []*config.MachineDisk) error {
	for _, d := range disks {
		for i, p := range d.Partitions {
			if p.Mountpoint != "" && path.Clean(p.Mountpoint) == "/" {
				return fmt.Errorf("machine.disks %s: nothing can be mounted over /", d.Device)
			}

			if p.Size == 0 && i < len(d.Partitions)-1 {
				return fmt.Errorf("machine.disks %s: partition %d takes what is left, so none can follow", d.Device, i+1)
			}

			c.Volumes = append(c.Volumes, Volume{
				ID: fmt.Sprintf("%s-%d", d.Device, i+1), Label: fmt.Sprintf("user-%d", i+1), Type: typeLinux, Index: i + 1,
				Filesystem: Ext4, Mount: p.Mountpoint, Device: d.Device, NeedsConfig: true,
				Min: max(uint64(p.Size), mib), Max: uint64(p.Size), Grow: p.Size == 0,
			})
		}
	}

	return nil
}
