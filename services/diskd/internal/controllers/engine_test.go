package controllers_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/diskd/internal/controllers"
	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/plan"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
)

// fake has one installed disk; steps fail as told.
type fake struct {
	disks []disk.Disk
	fail  map[string]error
	steps []string
}

func (f *fake) Disks() ([]disk.Disk, error) { return slices.Clone(f.disks), nil }

func (f *fake) Apply(_ context.Context, op plan.Op) error {
	f.steps = append(f.steps, op.String())

	if m, ok := op.(plan.Mount); ok && f.fail[op.String()] == nil {
		f.disks[0].Parts[m.Index-1].Mount = m.Target
	}

	return f.fail[op.String()]
}

func installed() *fake {
	d := disk.Disk{Name: "vda", Path: "/dev/vda", Size: 6 << 30, Content: disk.GPT}

	for i, label := range []string{"EFI", "BIOS", "BOOT", "META", "STATE", "EPHEMERAL"} {
		p := disk.Part{Index: i + 1, Label: label, Path: disk.PartPath(d.Path, i+1), Size: 100 << 20}
		p.FS = disk.Filesystem{Type: map[string]string{"META": "dactyl-meta", "STATE": "ext4", "EPHEMERAL": "ext4"}[label], Size: p.Size}
		d.Parts = append(d.Parts, p)
	}

	return &fake{disks: []disk.Disk{d}, fail: map[string]error{}}
}

// A step that fails holds up its own volume only, and is tried again later and later.
func TestFailure(t *testing.T) {
	now := time.Now()
	f := installed()
	f.fail["e2fsck -p /dev/vda5"] = errors.New("bad blocks")

	e := &controllers.Engine{System: f, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}
	cfg := &volume.Config{Volumes: volume.System()}

	pass := func() controllers.View {
		t.Helper()

		view, err := e.Pass(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}

		return view
	}

	view := pass()
	if err := view.Out.Ready(volume.State); err == nil || err.Error() != "bad blocks" {
		t.Errorf("STATE: %v", err)
	}

	if err := view.Out.Ready(volume.Ephemeral); err != nil {
		t.Errorf("EPHEMERAL: %v", err)
	}

	want := []string{"e2fsck -p /dev/vda5", "e2fsck -p /dev/vda6", "mount /dev/vda6 /var"}
	if !slices.Equal(f.steps, want) {
		t.Errorf("steps %q, want %q", f.steps, want)
	}

	// Not again before it is due.
	pass()

	if len(f.steps) != 3 {
		t.Errorf("steps %q", f.steps)
	}

	now = now.Add(3 * time.Second)
	pass()

	if next := e.Next(true); len(f.steps) != 4 || next < 3*time.Second || next > 5*time.Second {
		t.Errorf("%d steps, next in %s", len(f.steps), next)
	}

	delete(f.fail, "e2fsck -p /dev/vda5")

	now = now.Add(5 * time.Second)
	if err := pass().Out.Ready(volume.State, volume.Meta, volume.Ephemeral); err != nil {
		t.Error(err)
	}

	if next := e.Next(true); next != time.Minute {
		t.Errorf("next in %s", next)
	}
}

// A disk that appears starts the wait anew; without one it is longer; talos.device.settle_time is the least.
func TestSettle(t *testing.T) {
	now := time.Now()
	f := &fake{}
	e := &controllers.Engine{System: f, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, Settle: 8 * time.Second}

	for _, step := range []struct {
		after   time.Duration
		appears bool
		want    bool
	}{
		{0, false, false}, {4 * time.Second, false, false}, {time.Second, true, false}, {2 * time.Second, false, false},
		{2 * time.Second, false, true}, {time.Minute, true, false}, {2 * time.Second, false, true},
	} {
		now = now.Add(step.after)
		if step.appears {
			f.disks = append(f.disks, disk.Disk{Name: "vd" + string(rune('a'+len(f.disks))), Size: 1 << 30})
		}

		view, err := e.Pass(t.Context(), nil)
		if err != nil || e.Settled(view) != step.want {
			t.Errorf("%+v: %v %v", step, e.Settled(view), err)
		}
	}
}

// Where the end of the drivers is known, it is what is waited for, and is an event.
func TestSettleOnceDriversAreReady(t *testing.T) {
	now, ready := time.Now(), false
	f := &fake{disks: []disk.Disk{{Name: "vda", Size: 1 << 30}}}
	e := &controllers.Engine{
		System: f, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, Drivers: func() bool { return ready },
	}

	for _, step := range []struct {
		after          time.Duration
		appears, ready bool
		want           bool
		next           time.Duration
	}{
		{0, false, false, false, time.Minute},
		{time.Minute, true, false, false, time.Minute},
		{50 * time.Millisecond, false, true, false, 160 * time.Millisecond},
		{150 * time.Millisecond, false, true, true, time.Minute},
		{time.Minute, false, true, true, time.Minute},
	} {
		now, ready = now.Add(step.after), step.ready
		if step.appears {
			f.disks = append(f.disks, disk.Disk{Name: "vdb", Size: 1 << 30})
		}

		view, err := e.Pass(t.Context(), nil)
		if settled := e.Settled(view); err != nil || settled != step.want || e.Next(settled) != step.next {
			t.Errorf("%+v: settled %v, next in %s, %v", step, settled, e.Next(settled), err)
		}
	}
}

// Nothing begins once the disks are closed.
func TestClose(t *testing.T) {
	e := &controllers.Engine{System: installed(), Log: slog.New(slog.DiscardHandler), Now: time.Now}
	ran := 0

	e.Close(func() { ran++ })
	e.Close(func() { ran++ })

	if _, err := e.Pass(t.Context(), nil); err == nil || ran != 1 {
		t.Errorf("%v, ran %d times", err, ran)
	}
}
