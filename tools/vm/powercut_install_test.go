package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// TestLongPowerCutsWhileInstalling takes the power while a blank disk is partitioned and formatted: the machine comes back in
// maintenance mode and takes its configuration then, or is configured. It is configured when it had acknowledged that.
func TestLongPowerCutsWhileInstalling(t *testing.T) {
	count := number(t, cutsVariable, 8)
	random := moments(t)

	loseCaches(t)

	p := &powerCuts{node: start(t, "--skip-injecting-config").nodes[0], random: random, powered: time.Now()}

	// As `cluster create` would have applied it.
	config, err := os.ReadFile(filepath.Join(stateDir(), p.of.name, "nodes", p.Name, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}

	for round := range count {
		if round > 0 {
			p.blank(t)
		}

		p.awaitMaintenance(t)
		p.install(t, config)
	}
}

func (p *powerCuts) install(t *testing.T, config []byte) {
	t.Helper()

	applied := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())

	go func() { applied <- p.applyInsecure(ctx, config) }()

	time.Sleep(p.duration(15 * time.Second))
	p.take(t, "while it installs")
	cancel()

	acknowledged := <-applied == nil
	if configured := p.awaitEither(t); acknowledged && !configured {
		t.Fatal("the configuration was acknowledged and is lost")
	} else if !configured {
		kittest.AwaitNoError(t, bootLimit, func() error { return p.applyInsecure(t.Context(), config) })
	}

	p.awaitAPI(t)
	kittest.AwaitNoError(t, bootLimit, func() error { return p.ask(t, volumesReady) })
	p.quiet(t)
	t.Logf("acknowledged before the cut: %t; configured %.1f s after it", acknowledged, time.Since(p.powered).Seconds())
}

// awaitEither waits until the machine is configured or in maintenance mode.
func (p *powerCuts) awaitEither(t *testing.T) (configured bool) {
	t.Helper()

	kittest.AwaitNoError(t, bootLimit, func() error {
		err := p.ask(t, version)
		configured = err == nil

		if err != nil && p.tryInsecure(t, "version").Err == nil {
			return nil
		}

		return err
	})

	return configured
}

func (p *powerCuts) applyInsecure(ctx context.Context, config []byte) error {
	c, err := client.OpenNode(client.Options{Insecure: true}, p.Address)
	if err != nil {
		return err
	}
	defer c.Close()

	_, err = c.Machine.ApplyConfiguration(ctx, &machine.ApplyConfigurationRequest{Data: config})

	return err
}

// blank takes the power, empties the disk and gives the power back.
func (p *powerCuts) blank(t *testing.T) {
	t.Helper()
	p.whileOff(t, func() error {
		info, err := os.Stat(p.DiskPath(0))
		if err != nil {
			return err
		}

		return errors.Join(os.Truncate(p.DiskPath(0), 0), os.Truncate(p.DiskPath(0), info.Size()))
	})
}
