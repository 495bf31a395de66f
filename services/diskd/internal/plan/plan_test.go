package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/plan"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
)

const gib = 1 << 30

// machine is a made-up set of disks that takes steps as the real one does. It refuses what would destroy data.
type machine struct {
	disks []disk.Disk
	wipe  bool // the configuration allows the system disk to be wiped
}

func (m *machine) disk(path string) *disk.Disk {
	i := slices.IndexFunc(m.disks, func(d disk.Disk) bool { return d.Path == path })
	if i < 0 {
		panic("no disk " + path)
	}

	return &m.disks[i]
}

func (m *machine) part(path string) *disk.Part {
	for i := range m.disks {
		for j := range m.disks[i].Parts {
			if m.disks[i].Parts[j].Path == path {
				return &m.disks[i].Parts[j]
			}
		}
	}

	panic("no partition " + path)
}

func (m *machine) apply(op plan.Op) error {
	switch o := op.(type) {
	case plan.WipeDisk:
		d := m.disk(o.Disk)
		for _, p := range d.Parts {
			if !p.Wipe || p.Mount != "" {
				return fmt.Errorf("%s: %s is not marked or in use", o, p.Path)
			}
		}

		d.Content, d.Parts, d.Free, d.FS = disk.Blank, nil, 0, disk.Filesystem{}
	case plan.WriteTable:
		return m.table(o)
	case plan.Grow:
		p := m.part(o.Path)
		if o.By > p.Growth {
			return fmt.Errorf("%s: there is room for %d", o, p.Growth)
		}

		p.Size, p.Growth = p.Size+o.By, p.Growth-o.By
	case plan.WipePart:
		p := m.part(o.Path)
		if !p.Wipe || p.Mount != "" {
			return fmt.Errorf("%s: not marked or in use", o)
		}

		p.Wipe, p.FS = false, disk.Filesystem{}
	case plan.MakeMeta:
		m.part(o.Path).FS.Type = "dactyl-meta"
	case plan.Mkfs:
		p := m.part(o.Path)
		if p.FS.Type != "" || p.Mount != "" {
			return fmt.Errorf("%s: it holds %s", o, p.FS.Type)
		}

		p.FS = disk.Filesystem{Type: "ext4", Label: o.Label, Size: p.Size}
	case plan.Check:
	case plan.Mount:
		p := m.part(o.Path)
		if p.FS.Type != "ext4" || p.Mount != "" || p.Wipe {
			return fmt.Errorf("%s: holds %q, mounted at %q", o, p.FS.Type, p.Mount)
		}

		p.Mount = o.Target
	case plan.Resize:
		p := m.part(o.Path)
		if p.Mount != "" || p.FS.Type != "ext4" {
			return fmt.Errorf("%s: mounted at %q", o, p.Mount)
		}

		p.FS.Size = p.Size
	}

	return nil
}

func (m *machine) table(o plan.WriteTable) error {
	d := m.disk(o.Disk)

	if o.Fresh {
		if known := d.Content != disk.Blank && d.Content != disk.Installing; known != o.Wipe || o.Wipe && !m.wipe {
			return fmt.Errorf("%s: it holds %s", o, d.Holds())
		}

		d.Content, d.Parts, d.FS, d.Free = disk.GPT, nil, disk.Filesystem{}, d.Size-min(d.Size, 3<<20)
	}

	for _, p := range o.Parts {
		size := p.Size
		if size == 0 {
			if size = d.Free; p.Max != 0 {
				size = min(size, p.Max)
			}
		}

		if size > d.Free || size == 0 {
			return fmt.Errorf("%s: no room for %s", o, p)
		}

		index := len(d.Parts) + 1
		d.Free -= size
		d.Parts = append(d.Parts, disk.Part{
			Index: index, Label: p.Label, Path: disk.PartPath(d.Path, index), TypeGUID: p.Type, Size: size,
		})

		if p.Label == volume.Meta {
			d.Parts[index-1].FS.Type = "dactyl-meta"
		}
	}

	return nil
}

// run takes steps until none is left and gives them, and then the states of the volumes.
func (m *machine) run(cfg *volume.Config) (string, error) {
	var b strings.Builder

	for range 20 {
		out := plan.Make(plan.Input{Config: cfg, Disks: m.disks, Settled: true})
		b.WriteString(plan.Print(out.Ops))

		for _, op := range out.Ops {
			if err := m.apply(op); err != nil {
				return b.String(), err
			}
		}

		if len(out.Ops) == 0 {
			for _, s := range out.Volumes {
				fmt.Fprintf(&b, "%s: %s", s.Volume.ID, s.Phase)

				if s.Err != nil {
					fmt.Fprintf(&b, ", failed: %s", s.Err)
				}

				b.WriteByte('\n')
			}

			return b.String(), nil
		}
	}

	return b.String(), fmt.Errorf("no end")
}

func config(t testing.TB, text string) *volume.Config {
	t.Helper()

	cfg, err := volume.Load([]byte("version: v1alpha1\n" + text))
	if err != nil {
		t.Fatal(err)
	}

	return cfg
}

func blank(name string, size uint64) disk.Disk {
	return disk.Disk{Name: name, Path: "/dev/" + name, Size: size, Sector: 512, Transport: "virtio"}
}

func check(t *testing.T, m *machine, cfg *volume.Config, want string) {
	t.Helper()

	got, err := m.run(cfg)
	if err != nil {
		t.Errorf("%v\n%s", err, got)
	}

	if got != strings.TrimLeft(want, "\n") {
		t.Errorf("--- want\n%s--- got\n%s", strings.TrimLeft(want, "\n"), got)
	}
}

// One machine's life: transitions are tested on one set of disks.
func TestLife(t *testing.T) {
	m := &machine{disks: []disk.Disk{blank("vda", 6*gib), blank("vdb", gib)}}

	// Nothing is made without a configuration.
	check(t, m, nil, `
EFI: missing
BIOS: missing
BOOT: missing
META: missing
STATE: missing
EPHEMERAL: missing
`)

	cfg := config(t, `
machine:
  install: {disk: /dev/vda}
  disks:
    - device: /dev/vdb
      partitions: [{size: 100MiB, mountpoint: /var/mnt/a}, {mountpoint: /var/mnt/b}]
`)
	ready := `EFI: ready
BIOS: ready
BOOT: ready
META: ready
STATE: ready
EPHEMERAL: ready
/dev/vdb-1: ready
/dev/vdb-2: ready
`

	check(t, m, cfg, `
partition /dev/vda: EFI 100 MiB, BIOS 1 MiB, BOOT 1000 MiB, META 1 MiB, STATE 100 MiB, EPHEMERAL the rest
partition /dev/vdb: user-1 100 MiB, user-2 the rest
mkfs.ext4 -L STATE /dev/vda5
mkfs.ext4 -L EPHEMERAL /dev/vda6
mkfs.ext4 -L user-1 /dev/vdb1
mkfs.ext4 -L user-2 /dev/vdb2
e2fsck -p /dev/vda5
mount /dev/vda5 /system/state -o nosuid,nodev,noexec
e2fsck -p /dev/vda6
mount /dev/vda6 /var
e2fsck -p /dev/vdb1
mount /dev/vdb1 /var/mnt/a
e2fsck -p /dev/vdb2
mount /dev/vdb2 /var/mnt/b
`+ready)

	// Once more: nothing to do.
	check(t, m, cfg, ready)

	// The next boot finds STATE before there is a configuration, and a larger disk.
	m.unmount()
	m.part("/dev/vda6").Growth = 2 * gib

	check(t, m, nil, `
e2fsck -p /dev/vda5
mount /dev/vda5 /system/state -o nosuid,nodev,noexec
EFI: ready
BIOS: ready
BOOT: ready
META: ready
STATE: ready
EPHEMERAL: waiting
`)
	check(t, m, cfg, `
grow /dev/vda6 by 2 GiB
e2fsck -f -p /dev/vda6
resize2fs /dev/vda6
e2fsck -p /dev/vda6
mount /dev/vda6 /var
e2fsck -p /dev/vdb1
mount /dev/vdb1 /var/mnt/a
e2fsck -p /dev/vdb2
mount /dev/vdb2 /var/mnt/b
`+ready)

	// A reset of EPHEMERAL: nothing while it is in use, then it is made anew.
	m.part("/dev/vda6").Wipe = true

	check(t, m, cfg, strings.Replace(ready, "EPHEMERAL: ready", "EPHEMERAL: closed", 1))

	m.unmount()

	if got, err := m.run(nil); err != nil || !strings.HasPrefix(got, "wipe /dev/vda6 (EPHEMERAL)\n") && !strings.Contains(got, "\nwipe /dev/vda6 (EPHEMERAL)\n") {
		t.Errorf("%v\n%s", err, got)
	}

	if got, err := m.run(cfg); err != nil || !strings.Contains(got, "mkfs.ext4 -L EPHEMERAL /dev/vda6\n") || strings.Contains(got, "mkfs.ext4 -L STATE") {
		t.Errorf("%v\n%s", err, got)
	}

	// A reset of the whole disk ends with the disk blank, and not with partitions that were wiped one by one.
	for i := range m.disk("/dev/vda").Parts {
		m.disk("/dev/vda").Parts[i].Wipe = true
	}

	if got, err := m.run(cfg); err != nil || strings.Contains(got, "wipe") || !strings.Contains(got, "STATE: closed\n") {
		t.Errorf("%v\n%s", err, got)
	}

	m.unmount()

	check(t, m, nil, `
wipe /dev/vda
EFI: missing
BIOS: missing
BOOT: missing
META: missing
STATE: missing
EPHEMERAL: missing
`)
}

func (m *machine) unmount() {
	for i := range m.disks {
		for j := range m.disks[i].Parts {
			m.disks[i].Parts[j].Mount = ""
		}
	}
}

// What is refused, and why.
func TestRefusals(t *testing.T) {
	foreign := blank("vda", 6*gib)
	foreign.Content, foreign.Parts = disk.GPT, []disk.Part{{Index: 1, Path: "/dev/vda1", Label: "root", Size: gib, FS: disk.Filesystem{Type: "xfs"}}}
	raw, small, locked, iso := blank("vda", 6*gib), blank("vda", gib), blank("vda", 6*gib), blank("vda", 6*gib)
	raw.Content, locked.ReadOnly, iso.Mount = disk.Unknown, true, "/"
	installed := func(name string) disk.Disk {
		d := blank(name, 6*gib)
		d.Content, d.Parts = disk.GPT, []disk.Part{{Index: 1, Label: "META"}, {Index: 2, Label: "STATE"}}

		return d
	}

	named := "machine: {install: {disk: /dev/vda}}"

	for name, c := range map[string]struct {
		disks  []disk.Disk
		config string
		want   string
	}{
		"foreign partitions":  {[]disk.Disk{foreign}, named, "/dev/vda holds partitions (root): machine.install.wipe: true has it wiped"},
		"unknown data":        {[]disk.Disk{raw}, named, "/dev/vda holds data of an unknown kind"},
		"too small":           {[]disk.Disk{small}, named, "/dev/vda has room for 1021 MiB of partitions, 3250 MiB are needed"},
		"read only":           {[]disk.Disk{locked}, named, "/dev/vda cannot be written to"},
		"mounted":             {[]disk.Disk{iso}, named, "/dev/vda cannot be written to"},
		"another disk":        {[]disk.Disk{blank("vdb", 6*gib)}, named, "there is no /dev/vda"},
		"two disks":           {[]disk.Disk{blank("vda", 6*gib), blank("vdb", 6*gib)}, "machine: {install: {image: x}}", "there are 2 disks"},
		"no disk":             {nil, "machine: {install: {image: x}}", "there is no disk to install to"},
		"nothing is selected": {[]disk.Disk{blank("vda", 6*gib)}, "machine: {install: {diskSelector: {size: '> 1TB'}}}", "no disk matches"},
		"two systems":         {[]disk.Disk{installed("vda"), installed("vdb")}, named, "/dev/vda and /dev/vdb both have a META and a STATE"},
	} {
		t.Run(name, func(t *testing.T) {
			out := plan.Make(plan.Input{Config: config(t, c.config), Disks: c.disks, Settled: true})
			if err := out.Ready(volume.State); err == nil || !strings.Contains(err.Error(), c.want) || len(out.Ops) != 0 {
				t.Errorf("%v, want %q\n%s", err, c.want, plan.Print(out.Ops))
			}
		})
	}
}

// Nothing is made while disks may still appear.
func TestNotSettled(t *testing.T) {
	out := plan.Make(plan.Input{Config: config(t, "machine: {install: {image: x}}"), Disks: []disk.Disk{blank("vda", 6*gib)}})
	if len(out.Ops) != 0 || out.Ready(volume.State).Error() != "STATE is waiting" {
		t.Errorf("%v\n%s", out.Ready(volume.State), plan.Print(out.Ops))
	}
}

func TestSelectors(t *testing.T) {
	large := blank("sda", 2000*gib)
	large.Rotational, large.Transport, large.Model = true, "sata", "WDC Red"
	disks := []disk.Disk{blank("vda", 6*gib), large}

	for selector, want := range map[string]string{
		"{type: hdd}": "/dev/sda", "{type: ssd}": "/dev/vda", "{model: 'WDC*'}": "/dev/sda", "{size: '<= 10GB', type: ssd}": "/dev/vda",
		"{size: '>= 1TiB'}": "/dev/sda", "{name: vda}": "/dev/vda", "{model: '['}": "",
	} {
		out := plan.Make(plan.Input{Config: config(t, "machine: {install: {diskSelector: "+selector+"}}"), Disks: disks, Settled: true})
		if out.SystemDisk != want {
			t.Errorf("%s: %q, want %q: %v", selector, out.SystemDisk, want, out.Err)
		}
	}

	cfg := config(t, "machine: {install: {disk: /dev/vda}}\n---\napiVersion: v1alpha1\nkind: VolumeConfig\nname: EPHEMERAL\n"+
		"provisioning: {diskSelector: {match: disk.rotational && !system_disk}, maxSize: 100GiB}\n")

	got := plan.Print(plan.Make(plan.Input{Config: cfg, Disks: disks, Settled: true}).Ops)
	if want := "partition /dev/vda: EFI 100 MiB, BIOS 1 MiB, BOOT 1000 MiB, META 1 MiB, STATE 100 MiB\npartition /dev/sda: EPHEMERAL at most 100 GiB\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Whatever is on the disks, the plan comes to an end, and no step destroys what was not given up.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{6, 0, 0, 1, 9, 200}, true, false)
	f.Add([]byte{6, 1, 4, 2, 3, 77, 0, 9, 1}, true, true)
	f.Add([]byte{40, 2, 2, 0, 0, 0, 1, 1, 1, 5, 5, 5}, false, false)
	f.Fuzz(func(t *testing.T, seed []byte, configured, wipe bool) {
		next := func(n int) int {
			if len(seed) == 0 {
				return 0
			}

			v := int(seed[0]) % n
			seed = seed[1:]

			return v
		}

		m := &machine{wipe: wipe}
		for i := range 1 + next(3) {
			m.disks = append(m.disks, randomDisk(next, i))
		}

		var cfg *volume.Config
		if configured {
			cfg = config(t, fmt.Sprintf("machine: {install: {disk: /dev/vda, wipe: %v}, disks: [{device: /dev/vdb, partitions: [{size: %dMiB, mountpoint: /var/x}, {}]}]}", wipe, 1+next(2000)))
		}

		if steps, err := m.run(cfg); err != nil {
			t.Errorf("%v\n%s", err, steps)
		}
	})
}

func randomDisk(next func(int) int, i int) disk.Disk {
	d := blank("vd"+string(rune('a'+i)), uint64(next(60))*gib/4)
	d.Content = []string{disk.Blank, disk.GPT, disk.GPT, "ext4", disk.Unknown, disk.Installing}[next(6)]
	d.ReadOnly = next(10) == 9

	if d.Content != disk.GPT {
		return d
	}

	d.Free = d.Size / 2

	for j := range next(7) {
		p := disk.Part{
			Index: j + 1, Path: disk.PartPath(d.Path, j+1), Size: uint64(next(200)) << 20,
			Label: []string{"EFI", "BOOT", "META", "STATE", "EPHEMERAL", "user-1", "user-2", "root"}[next(8)],
			Wipe:  next(4) == 3,
		}
		p.FS.Type = []string{"", "ext4", "xfs", "ext4"}[next(4)]
		p.FS.Size = p.Size / uint64(1+next(2))

		if p.FS.Type == "ext4" && next(3) == 2 {
			p.Mount = "/somewhere"
		}

		if next(4) == 1 {
			p.Growth = uint64(next(100)) << 20
		}

		d.Parts = append(d.Parts, p)
	}

	return d
}
