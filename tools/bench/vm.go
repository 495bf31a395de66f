package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	resourcetypes "github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/proto/resource/perf"
	"github.com/dactyl-os/dactyl/tools/internal/client"
	"github.com/dactyl-os/dactyl/tools/internal/cluster"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const (
	vmCluster = "bench-vm"
	vmNetwork = "10.79.0.0/24"
	// vmLimit is for one step of an emulated machine while the host has much else to do.
	vmLimit = 5 * time.Minute
)

// What init says on the console.
const (
	firstLine   = "dactyl: init starts"
	runningLine = "dactyl: stage: running"
	costsLine   = `dactyl: processor time so far: (.*)`
)

// boots are what one virtual machine took from nothing to a minute of idling, and to its second boot.
type boots struct {
	kernel, maintenance, running time.Duration
	warmKernel, warmAPI          time.Duration
	waiting, used                uint64             // bytes, in maintenance mode and with etcd
	memory                       map[string]float64 // bytes by daemon
	cost                         map[string]float64 // seconds until the maintenance API by daemon
}

// bootOnce makes a virtual machine, measures it and removes it.
func bootOnce(ctx context.Context, settle time.Duration) (b boots, err error) {
	flags := []string{"--provisioner", cluster.QEMU, "--skip-injecting-config", "--wait=false"}

	err = withCluster(ctx, vmCluster, vmNetwork, 1, 0, func(ctx context.Context) error {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}

		c, err := cluster.Load(filepath.Join(home, ".dactyl", "clusters"), vmCluster)
		if err != nil {
			return err
		}

		m := vm{Machine: c.Machines()[0], config: filepath.Join(home, ".dactyl", "clusters", vmCluster, "nodes", c.Machines()[0].Name, "config.yaml")}
		for _, step := range []func(context.Context, *boots) error{m.first, m.waiting(settle), m.configure, m.idle(settle), m.warm} {
			if err := step(ctx, &b); err != nil {
				return errors.Join(err, m.keepConsole())
			}
		}

		return nil
	}, flags...)

	return b, err
}

// vm is the machine that is measured.
type vm struct {
	*cluster.Machine
	config string
}

// keepConsole saves the console log of a machine that did not do what it should, and says where.
func (m vm) keepConsole() error {
	text, err := os.ReadFile(m.ConsolePath())
	kept := outside.Repository("_out", "vm", m.Name+".log")
	if err = errors.Join(err, os.MkdirAll(filepath.Dir(kept), 0o755), os.WriteFile(kept, text, 0o644)); err != nil {
		return err
	}

	return fmt.Errorf("its console: %s", kept)
}

// first follows a boot without a configuration.
func (m vm) first(ctx context.Context, b *boots) error {
	_, started, err := m.emulator(ctx, 0)
	if err != nil {
		return err
	}

	begun, _, err := m.console(ctx, 0, firstLine)
	if err != nil {
		return err
	}

	err = await(ctx, "the maintenance API", func(ctx context.Context) error {
		return m.version(ctx, func() (*client.Client, error) {
			return client.Open(client.Options{Insecure: true, Endpoints: []string{m.Address}})
		})
	})
	if err != nil {
		return err
	}

	b.kernel, b.maintenance = begun.Sub(started), time.Since(begun)

	_, costs, err := m.console(ctx, 0, costsLine)
	b.cost = numbers(costs)

	return err
}

// configure applies the configuration and waits until everything runs.
func (m vm) configure(ctx context.Context, b *boots) error {
	data, err := os.ReadFile(m.config)
	if err != nil {
		return err
	}

	c, err := client.Open(client.Options{Insecure: true, Endpoints: []string{m.Address}})
	if err != nil {
		return err
	}
	defer c.Close()

	start := time.Now()
	if _, err := c.Machine.ApplyConfiguration(ctx, &machine.ApplyConfigurationRequest{Data: data}); err != nil {
		return fmt.Errorf("apply: %w", err)
	}

	err = await(ctx, "the bootstrap of etcd", func(ctx context.Context) error {
		c, err := m.Client()
		if err != nil {
			return err
		}
		defer c.Close()

		_, err = c.Machine.Bootstrap(ctx, &machine.BootstrapRequest{})
		if status.Code(err) == codes.AlreadyExists {
			return nil // by a call whose answer came late
		}

		return err
	})
	if err != nil {
		return err
	}

	running, _, err := m.console(ctx, 0, runningLine)
	b.running = running.Sub(start)

	return err
}

// waiting lets the machine be in maintenance mode, as the reference system was measured, and reads what memory it uses.
func (m vm) waiting(settle time.Duration) func(context.Context, *boots) error {
	return func(ctx context.Context, b *boots) error {
		c, err := client.Open(client.Options{Insecure: true, Endpoints: []string{m.Address}})
		if err != nil {
			return err
		}
		defer c.Close()

		b.waiting, err = usedAfter(ctx, settle, c)

		return err
	}
}

// usedAfter is the memory in bytes that a machine uses after a while, page cache not counted. Its last half minute may be
// missing: that is how often a machine publishes it.
func usedAfter(ctx context.Context, settle time.Duration, c *client.Client) (uint64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settle):
	}

	if err := resourcetypes.Register(); err != nil {
		return 0, fmt.Errorf("register resource types: %w", err)
	}

	memory, err := safe.StateGetByID[*perf.Memory](ctx, state.WrapCore(c.State), perf.MemoryID)
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}

	return (memory.TypedSpec().MemTotal - memory.TypedSpec().MemAvailable) << 10, nil
}

// idle lets the machine run and reads what memory it uses, and which daemon.
func (m vm) idle(settle time.Duration) func(context.Context, *boots) error {
	return func(ctx context.Context, b *boots) error {
		c, err := m.Client()
		if err != nil {
			return err
		}
		defer c.Close()

		if b.used, err = usedAfter(ctx, settle, c); err != nil {
			return err
		}

		stats, err := c.Machine.Stats(ctx, &machine.StatsRequest{Namespace: "system"})
		if err != nil {
			return fmt.Errorf("read statistics: %w", err)
		}

		b.memory = map[string]float64{}
		for _, s := range stats.GetMessages()[0].GetStats() {
			b.memory[s.GetName()] = float64(s.GetMemoryUsage())
		}

		return nil
	}
}

// warm takes the power away and follows the boot of a machine that has its configuration.
func (m vm) warm(ctx context.Context, b *boots) error {
	old, _, err := m.emulator(ctx, 0)
	if err != nil {
		return err
	}

	before, err := os.Stat(m.ConsolePath())
	if err != nil {
		return err
	}

	conn, err := net.Dial("unix", m.MonitorPath())
	if err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	defer conn.Close()

	if _, err := fmt.Fprintln(conn, "q"); err != nil {
		return fmt.Errorf("reset: %w", err)
	}

	_, started, err := m.emulator(ctx, old)
	if err != nil {
		return err
	}

	begun, _, err := m.console(ctx, before.Size(), firstLine)
	if err != nil {
		return err
	}

	err = await(ctx, "the API", func(ctx context.Context) error { return m.version(ctx, m.Client) })
	b.warmKernel, b.warmAPI = begun.Sub(started), time.Since(begun)

	return err
}

// version asks over a new connection: one that was tried before waits longer from time to time.
func (m vm) version(ctx context.Context, open func() (*client.Client, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()

	c, err := open()
	if err != nil {
		return err
	}
	defer c.Close()

	_, err = c.Machine.Version(ctx, &emptypb.Empty{})

	return err
}

// emulator gives the machine's QEMU, another than old, and when it started.
func (m vm) emulator(ctx context.Context, old int) (pid int, started time.Time, err error) {
	err = await(ctx, "QEMU", func(context.Context) error {
		pid, err = m.InitPID()
		if err == nil && (pid == old || pid == 0) {
			err = errors.New("it has not started")
		}
		if err == nil {
			started, err = startTime(pid)
		}

		return err
	})

	return pid, started, err
}

// console waits for a line and gives when it was there, and what the expression's parentheses hold.
func (m vm) console(ctx context.Context, from int64, line string) (at time.Time, found string, err error) {
	expression := regexp.MustCompile(line)

	err = await(ctx, "the console to say "+line, func(context.Context) error {
		text, err := os.ReadFile(m.ConsolePath())
		if err != nil {
			return err
		}

		match := expression.FindSubmatch(text[min(from, int64(len(text))):])
		if match == nil {
			return fmt.Errorf("%s does not have it", m.ConsolePath())
		}

		at, found = time.Now(), string(match[len(match)-1])

		return nil
	})

	return at, strings.TrimSpace(found), err
}

// await repeats a question until it is answered.
func await(ctx context.Context, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, vmLimit, fmt.Errorf("%s did not come within %s", what, vmLimit))
	defer cancel()

	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}

		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
