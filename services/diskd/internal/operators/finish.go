package operators

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/plan"
)

// askWithin bounds the wait for init's answer on the way down.
const askWithin = 3 * time.Second

// Finish ends a reset when the machine goes down: what is marked is unmounted and wiped. What is still in use is left to
// the next start, before anything is mounted.
func (m *Machine) Finish(ctx context.Context) {
	if _, err := os.Stat(m.Resetting); err != nil {
		return
	}

	m.Engine.Close(func() {
		if err := m.finish(ctx); err != nil {
			m.Log.Warn("the next start ends the reset", "error", err)
		}
	})
}

func (m *Machine) finish(ctx context.Context) error {
	disks, err := m.System.Disks()
	if err != nil {
		return err
	}

	if err := m.releaseLogs(ctx); err != nil {
		m.Log.Warn("init keeps its logs where they are", "error", err)
	}

	// The other daemons are going down, too, and hold files until then.
	ctx, cancel := context.WithTimeout(ctx, m.Patience)
	defer cancel()

	targets, err := m.System.MountsOver(marked(disks))
	if err != nil {
		return err
	}

	for _, target := range targets {
		// What stays busy does not keep the rest from being wiped.
		if err := m.unmount(ctx, target); err != nil {
			m.Log.Warn("the next start wipes what is in use", "mount", target, "error", err)
		}
	}

	ctx = context.WithoutCancel(ctx)

	if disks, err = m.System.Disks(); err != nil {
		return err
	}

	for _, op := range plan.Wipes(disks) {
		m.Log.Info("disk step", "step", op.String())

		if err := m.System.Apply(ctx, op); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}

	return nil
}

func marked(disks []disk.Disk) []disk.Part {
	var parts []disk.Part

	for _, d := range disks {
		for _, p := range d.Parts {
			if p.Wipe {
				parts = append(parts, p)
			}
		}
	}

	return parts
}

// unmount tries until nobody uses the mount any more.
func (m *Machine) unmount(ctx context.Context, target string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()

	for {
		err := m.System.UnmountAt(target)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}

		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// releaseLogs has init write its logs, which are on EPHEMERAL, to memory.
func (m *Machine) releaseLogs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()

	conn, err := m.Dial("init")
	if err != nil {
		return err
	}

	_, err = initv1.NewInitServiceClient(conn).Release(ctx, &initv1.ReleaseRequest{})

	return err
}
