// Package standin plays networkd for a daemon that runs alone and needs to know the machine's name and addresses.
package standin

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/proto/resource/network"
)

// Network publishes the hostname and addresses of the system once a second; DACTYL_HOSTNAME names another host.
func Network(local state.State) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			if err := publish(ctx, local); err != nil {
				return err
			}

			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
			}
		}
	}
}

func publish(ctx context.Context, local state.State) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read hostname: %w", err)
	}

	// A name given on the command line's environment lets several run on one machine.
	if given := os.Getenv("DACTYL_HOSTNAME"); given != "" {
		name = given
	}

	hostname, domain, _ := strings.Cut(name, ".")

	if err := safe.StateModify(ctx, local, network.NewHostnameStatus(network.NamespaceName, network.HostnameID), func(status *network.HostnameStatus) error {
		status.TypedSpec().Hostname, status.TypedSpec().Domainname = hostname, domain

		return nil
	}); err != nil {
		return fmt.Errorf("publish hostname: %w", err)
	}

	found, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("read addresses: %w", err)
	}

	var prefixes []netip.Prefix

	for _, addr := range found {
		prefix, err := netip.ParsePrefix(addr.String())
		if err == nil && prefix.Addr().IsGlobalUnicast() {
			prefixes = append(prefixes, prefix)
		}
	}

	for _, id := range []resource.ID{network.NodeAddressRoutedID, network.NodeAddressCurrentID, network.NodeAddressAccumulativeID} {
		if err := safe.StateModify(ctx, local, network.NewNodeAddress(network.NamespaceName, id), func(addresses *network.NodeAddress) error {
			addresses.TypedSpec().Addresses = prefixes

			return nil
		}); err != nil {
			return fmt.Errorf("publish addresses: %w", err)
		}
	}

	return nil
}
