// Package plan decides: desired volumes × observed disks → the next steps and the state of each volume. It is pure. It is
// asked again after the steps were taken, until none is left.
package plan

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/dactyl-os/dactyl/proto/config/selector"
	"github.com/dactyl-os/dactyl/proto/resource/enums"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
)

// Input is what is decided on.
type Input struct {
	// Config is nil before there is a machine configuration: then nothing is made, only what is there is used.
	Config *volume.Config
	Disks  []disk.Disk
	// Settled: no more disks are expected to appear, so what is not there is missing.
	Settled bool
}

// Status is the state of a volume.
type Status struct {
	Err    error
	Volume volume.Volume
	Part   disk.Part         // zero when there is none
	Disk   string            // path
	Phase  enums.VolumePhase // failed when there is an Err, and this is the phase before
}

// Output is the decision.
type Output struct {
	Err        error // why there is no system disk although one is needed
	SystemDisk string
	Ops        []Op
	Volumes    []Status
}

// growStep is the least that growing is worth; less is lost to alignment.
const growStep = 16 << 20

// Make decides.
func Make(in Input) Output {
	var out Output

	system, err := systemDisk(in)
	out.Err = err

	if system != nil {
		out.SystemDisk = system.Path
	}

	if out.Ops = finishReset(in.Disks); len(out.Ops) > 0 {
		return out
	}

	wanted := volume.System()
	if in.Config != nil {
		wanted = in.Config.Volumes
	}

	missing := map[string][]int{} // by disk

	for i, v := range wanted {
		home, err := homeOf(v, in, system, out.Err)
		s := Status{Volume: v, Phase: enums.VolumePhaseWaiting, Err: err}

		if home != nil {
			s.Disk = home.Path
		}

		if p, ok := find(v, home); ok {
			var ops []Op

			s.Part = p
			ops, s.Phase, s.Err = use(v, *home, p, in.Config != nil)
			out.Ops = append(out.Ops, ops...)
		} else if home != nil && in.Config != nil {
			missing[home.Path] = append(missing[home.Path], i)
		} else if s.Err == nil && in.Settled && in.Config == nil {
			s.Phase = enums.VolumePhaseMissing
		}

		out.Volumes = append(out.Volumes, s)
	}

	out.Ops = slices.DeleteFunc(out.Ops, out.tooEarly)

	// A disk that is still to appear may be the better one, or make the only one one of two.
	for _, d := range in.Disks {
		if in.Settled {
			out.provision(in, d, missing[d.Path])
		}
	}

	return out
}

// tooEarly tells whether a step leads to a mount below another volume's target that is not mounted itself: that mount would
// hide this one.
func (out *Output) tooEarly(op Op) bool {
	switch o := op.(type) {
	case Check:
		if o.Force {
			return false // for a Resize
		}
	case Mount:
	default:
		return false
	}

	i := slices.IndexFunc(out.Volumes, func(s Status) bool { return slices.Contains(op.For(), s.Volume.ID) })

	return slices.ContainsFunc(out.Volumes, func(s Status) bool {
		above := s.Volume.Mount

		return above != "" && s.Part.Mount == "" && strings.HasPrefix(path.Clean(out.Volumes[i].Volume.Mount), path.Clean(above)+"/")
	})
}

// homeOf gives the disk that a volume is on or shall be on; nil while there is none.
func homeOf(v volume.Volume, in Input, system *disk.Disk, systemErr error) (*disk.Disk, error) {
	at := func(ok func(d *disk.Disk) bool) *disk.Disk {
		for i := range in.Disks {
			if ok(&in.Disks[i]) {
				return &in.Disks[i]
			}
		}

		return nil
	}

	switch {
	case v.Device != "":
		d := at(func(d *disk.Disk) bool { return d.Path == v.Device })
		if d == nil && in.Settled {
			return nil, fmt.Errorf("there is no disk %s", v.Device)
		}

		if d != nil && system != nil && d.Path == system.Path {
			return nil, fmt.Errorf("%s is the system disk", v.Device)
		}

		return d, nil
	case v.Selector != nil:
		return selected(v, in, system)
	case system == nil && in.Settled:
		return nil, systemErr
	default:
		return system, nil
	}
}

func selectable(d disk.Disk, system bool) selector.Disk {
	return selector.Disk{
		Path: d.Path, Model: d.Model, Serial: d.Serial, Modalias: d.Modalias, WWID: d.WWID, BusPath: d.BusPath, SubSystem: d.SubSystem, Transport: d.Transport,
		Size: d.Size, IOSize: d.IOSize, Sector: d.Sector, ReadOnly: d.ReadOnly, CDROM: d.CDROM, Rotational: d.Rotational, System: system,
	}
}

// selected prefers the disk that has the volume already: a selector that is changed moves nothing.
func selected(v volume.Volume, in Input, system *disk.Disk) (*disk.Disk, error) {
	var first *disk.Disk

	for i := range in.Disks {
		d := &in.Disks[i]
		isSystem := system != nil && d.Path == system.Path

		match, err := v.Selector.Match(selectable(*d, isSystem))
		if err != nil {
			return nil, err
		}

		if !match || !usable(*d) {
			continue
		}

		if _, has := d.Part(v.Label); has {
			return d, nil
		}

		if first == nil {
			first = d
		}
	}

	if first == nil && in.Settled {
		return nil, fmt.Errorf("no disk matches %s", v.Selector)
	}

	return first, nil
}

func find(v volume.Volume, home *disk.Disk) (disk.Part, bool) {
	if home == nil || home.Content != disk.GPT {
		return disk.Part{}, false
	}

	return home.Part(v.Label)
}

// use decides what a partition that is there needs next.
func use(v volume.Volume, d disk.Disk, p disk.Part, configured bool) ([]Op, enums.VolumePhase, error) {
	at := part{ID: v.ID, Disk: d.Path, Path: p.Path, Index: p.Index}

	switch {
	case p.Wipe && (p.Mount != "" || resetting(d)):
		return nil, enums.VolumePhaseClosed, nil // wiped when it is not in use any more
	case p.Wipe:
		return []Op{WipePart{at}}, enums.VolumePhaseLocated, nil
	case v.NeedsConfig && !configured:
		return nil, enums.VolumePhaseWaiting, nil
	}

	if by := growth(v, p); by > 0 && p.Mount == "" {
		return []Op{Grow{at, by}}, enums.VolumePhaseLocated, nil
	}

	return prepare(v, p, at)
}

// prepare makes what a volume holds, lets its filesystem fill the partition, and mounts it.
func prepare(v volume.Volume, p disk.Part, at part) ([]Op, enums.VolumePhase, error) {
	switch {
	case v.ID == volume.Meta && p.FS.Type == "":
		return []Op{MakeMeta{at}}, enums.VolumePhaseProvisioned, nil
	case v.Filesystem == "":
		return nil, enums.VolumePhaseReady, nil
	case p.FS.Type == "":
		return []Op{Mkfs{at, v.Label}}, enums.VolumePhaseProvisioned, nil
	case p.FS.Type != v.Filesystem:
		return nil, enums.VolumePhaseLocated, fmt.Errorf("%s holds %s, not %s: reset it to have it formatted", p.Path, p.FS.Type, v.Filesystem)
	case v.Mount == "" || p.Mount != "":
		return nil, enums.VolumePhaseReady, nil
	case v.Grow && p.FS.Size+growStep <= p.Size:
		return []Op{Check{at, true}, Resize{at}}, enums.VolumePhaseProvisioned, nil
	}

	return []Op{Check{at, false}, Mount{at, v.Mount, v.MountOptions}}, enums.VolumePhasePrepared, nil
}

func growth(v volume.Volume, p disk.Part) uint64 {
	by := p.Growth

	if !v.Grow {
		return 0
	}

	if v.Max != 0 {
		by = min(by, max(v.Max, p.Size)-p.Size)
	}

	if by < growStep {
		return 0
	}

	return by
}

func mounted(d disk.Disk) bool {
	return d.Mount != "" || slices.ContainsFunc(d.Parts, func(p disk.Part) bool { return p.Mount != "" })
}

// Ready tells whether the volumes are: nil, or why one is not.
func (out Output) Ready(ids ...string) error {
	if out.Err != nil {
		return out.Err
	}

	for _, id := range ids {
		i := slices.IndexFunc(out.Volumes, func(s Status) bool { return s.Volume.ID == id })

		switch {
		case i < 0:
			return fmt.Errorf("there is no volume %s", id)
		case out.Volumes[i].Err != nil:
			return out.Volumes[i].Err
		case out.Volumes[i].Phase != enums.VolumePhaseReady:
			return errors.New(id + " is " + out.Volumes[i].Phase.String())
		}
	}

	return nil
}
