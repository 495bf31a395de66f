package controllers

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"

	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/kit/kittest"

	"github.com/dactyl-os/dactyl/services/networkd/internal/checkpoint"
	"github.com/dactyl-os/dactyl/services/networkd/internal/dhcp"
	"github.com/dactyl-os/dactyl/services/networkd/internal/host"
	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
)

// rig is the controller in a namespace of its own, without a daemon around it.
type rig struct {
	*Configure
	ns    *kittest.NS
	local state.State
}

func newRig(t testing.TB) *rig {
	t.Helper()
	kittest.RequireRoot(t)

	ns := kittest.NetNS(t)
	ns.Exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer0")

	var (
		conn *rtnl.Conn
		err  error
	)

	ns.Run(func() { conn, err = rtnl.Dial() })

	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { conn.Close() })

	remembered, err := checkpoint.Open[checkpoint.Network](filepath.Join(t.TempDir(), "network.json"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}

	local := state.WrapCore(namespaced.NewState(inmem.Build))

	return &rig{
		Configure: NewConfigure(Configure{
			Conn: conn, Checkpoint: remembered, Leases: noLeases(t), Host: host.Host{Root: t.TempDir()}, Sysfs: "/nowhere",
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		}, local),
		ns: ns, local: local,
	}
}

func noLeases(t testing.TB) *dhcp.Operators {
	t.Helper()

	held, err := checkpoint.Open[dhcp.Leases](filepath.Join(t.TempDir(), "leases.json"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}

	return dhcp.New(nil, held, slog.New(slog.DiscardHandler))
}

// configured stores a machine configuration with that many addresses on eth0.
func (r *rig) configured(ctx context.Context, t testing.TB, addresses int) {
	t.Helper()

	var text strings.Builder

	text.WriteString("version: v1alpha1\nmachine:\n  network:\n    interfaces:\n      - interface: eth0\n        addresses:\n          - 10.5.0.2/24\n")

	for i := range addresses {
		fmt.Fprintf(&text, "          - 10.77.%d.1/24\n", i)
	}

	err := r.local.Modify(ctx, config.NewMachineConfig(config.NamespaceName, config.ActiveID), func(res resource.Resource) error {
		res.(*config.MachineConfig).TypedSpec().Data = []byte(text.String())

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) step(ctx context.Context, t testing.TB) {
	t.Helper()

	if failed, err := r.reconcile(ctx, r.local); failed || err != nil {
		t.Fatal(failed, err)
	}
}

// TestGap: configd away, unreadable or new to the daemon never removes what a configuration put there.
func TestGap(t *testing.T) {
	r, ctx := newRig(t), t.Context()

	r.configured(ctx, t, 2)
	r.step(ctx, t)

	has := func(want bool, when string) {
		t.Helper()

		if got := strings.Contains(r.ns.Exec("ip", "addr"), "10.77.1.1/24"); got != want {
			t.Fatalf("%s: address there: %v", when, got)
		}
	}

	has(true, "configured")

	if err := r.local.Destroy(ctx, config.NewMachineConfig(config.NamespaceName, config.ActiveID).Metadata()); err != nil {
		t.Fatal(err)
	}

	r.step(ctx, t)
	has(true, "no configuration")

	// A new daemon with the old one's checkpoint.
	again, err := checkpoint.Open[checkpoint.Network](filepath.Join(t.TempDir(), "network.json"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}

	again.Value = r.Checkpoint.Value
	r.Configure = NewConfigure(Configure{Conn: r.Conn, Checkpoint: again, Leases: r.Leases, Host: r.Host, Log: r.Log}, r.local)
	r.step(ctx, t)
	has(true, "restarted before configd")

	r.configured(ctx, t, 1)
	r.step(ctx, t)
	has(false, "configured without it")
}

// TestHostDNS: clients that ask for the node's own resolver are told that there is none.
func TestHostDNS(t *testing.T) {
	r, ctx := newRig(t), t.Context()

	r.configured(ctx, t, 0)
	r.step(ctx, t)

	got, err := r.local.Get(ctx, network.NewHostDNSConfig(network.NamespaceName, "config").Metadata())
	if err != nil || got.(*network.HostDNSConfig).TypedSpec().Enabled {
		t.Errorf("%v %v", got, err)
	}
}

func BenchmarkHundredMoreAddresses(b *testing.B) {
	r, ctx := newRig(b), b.Context()

	for b.Loop() {
		b.StopTimer()
		r.configured(ctx, b, 0)
		r.step(ctx, b)
		r.configured(ctx, b, 100)
		b.StartTimer()

		r.step(ctx, b)
	}
}

func BenchmarkNothingToDo(b *testing.B) {
	r, ctx := newRig(b), b.Context()

	r.configured(ctx, b, 100)

	for b.Loop() {
		r.step(ctx, b)
	}
}
