package controllers

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cosi-project/runtime/pkg/controller/runtime"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
)

// TestManyAddressesAreOneChange: certificates follow the names, so a burst of addresses has to come to few sets of names.
func TestManyAddressesAreOneChange(t *testing.T) {
	t.Parallel()

	const addresses, most = 50, 10 // one is enough, on a machine that is not held up

	st := state.WrapCore(namespaced.NewState(inmem.Build))
	host := network.NewHostnameStatus(network.NamespaceName, network.HostnameID)
	host.TypedSpec().Hostname = "cp-1"
	nodeAddress := network.NewNodeAddress(network.NamespaceName, network.NodeAddressAccumulativeID)
	nodeAddress.TypedSpec().Addresses = []netip.Prefix{netip.MustParsePrefix("10.5.0.2/24")}

	if err := st.Create(t.Context(), host); err != nil {
		t.Fatal(err)
	}

	if err := st.Create(t.Context(), nodeAddress); err != nil {
		t.Fatal(err)
	}

	events := make(chan state.Event, addresses+2)
	if err := st.Watch(t.Context(), secrets.NewCertSAN(secrets.NamespaceName, secrets.CertSANAPIID).Metadata(), events); err != nil {
		t.Fatal(err)
	}

	run(t, st, &SANs{Env: Env{Log: slog.New(slog.DiscardHandler), Now: time.Now}, Patience: time.Minute})
	awaitSAN(t, events, "10.5.0.2")

	pace := time.NewTicker(2 * time.Millisecond) // of a network daemon that adds one after the other
	defer pace.Stop()

	for i := range addresses {
		<-pace.C

		if _, err := safe.StateUpdateWithConflicts(t.Context(), st, nodeAddress.Metadata(), func(a *network.NodeAddress) error {
			a.TypedSpec().Addresses = append(a.TypedSpec().Addresses, netip.MustParsePrefix(fmt.Sprintf("10.5.1.%d/24", i)))

			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}

	if n := awaitSAN(t, events, fmt.Sprintf("10.5.1.%d", addresses-1)); n > most {
		t.Errorf("%d sets of names for %d addresses", n, addresses)
	}
}

// awaitSAN counts the sets of names up to the first that has an address.
func awaitSAN(t *testing.T, events <-chan state.Event, address string) (n int) {
	t.Helper()

	for limit := time.After(time.Minute); ; {
		select {
		case <-limit:
			t.Fatalf("no certificate would have %s", address)
		case event := <-events:
			n++

			if san, ok := event.Resource.(*secrets.CertSAN); ok && slices.Contains(san.TypedSpec().IPs, netip.MustParseAddr(address)) {
				return n
			}
		}
	}
}

func run(t *testing.T, st state.State, ctrl *SANs) {
	t.Helper()

	rt, err := runtime.NewRuntime(st, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}

	if err := rt.RegisterController(ctrl); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() { done <- rt.Run(ctx) }()

	t.Cleanup(func() {
		cancel()

		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
