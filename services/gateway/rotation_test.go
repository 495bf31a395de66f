package gateway_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// TestRotationOfTheAuthority: three times in a row, in the steps of a rotation, under calls to both nodes. The connections
// between the gateways, made with the old certificates, are used all the time.
func TestRotationOfTheAuthority(t *testing.T) {
	old := fake.NewAuthority(t)
	first := controlPlane(t, old, "127.0.0.2", "0")
	second := controlPlane(t, old, "127.0.0.3", first.port())
	both := []*node{first, second}

	for range 3 {
		next := fake.NewAuthority(t)
		publish := func(signer *fake.Authority, accepted ...*fake.Authority) {
			for _, n := range both {
				fake.PublishAPI(t, n.trustd, signer.Server(t, n.address), signer.Client(t, access.Impersonator), accepted...)
			}
		}
		// settled waits until a node shows what the signer signed and takes a client of it.
		settled := func(signer *fake.Authority) {
			for _, n := range both {
				await(t, 10*time.Second, func() error { return version(within(t, time.Second), n.client(t, signer, access.Admin)) })
			}
		}
		caller := func(signer *fake.Authority) *load {
			client := machine.NewMachineServiceClient(first.client(t, signer, access.Admin))

			return startLoad(t, 2, func(ctx context.Context) error {
				_, err := client.Hostname(metadataPairs(ctx, "node", "127.0.0.3"), &emptypb.Empty{})

				return err
			})
		}

		before := caller(old)
		before.more(t, 20)
		publish(old, old, next)
		before.more(t, 20)
		publish(next, old, next)
		settled(next)
		before.more(t, 20)
		before.finish(t)

		after := caller(next)
		after.more(t, 20)
		publish(next, next)
		after.more(t, 200)
		after.finish(t)

		old = next
	}
}

// TestSlowNodeIsNoDeadOne: another node's gateway stands still for five seconds. Calls wait for it.
func TestSlowNodeIsNoDeadOne(t *testing.T) {
	authority := fake.NewAuthority(t)
	first := controlPlane(t, authority, "127.0.0.2", "0")
	second := controlPlane(t, authority, "127.0.0.3", first.port())
	client := machine.NewMachineServiceClient(first.client(t, authority, access.Admin))

	steady := startLoad(t, 16, func(ctx context.Context) error {
		_, err := client.Hostname(metadataPairs(ctx, "node", "127.0.0.3"), &emptypb.Empty{})

		return err
	})
	steady.more(t, 100)

	if err := second.gateway.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	time.Sleep(5 * time.Second) // how long it stands still is the point

	if err := second.gateway.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}

	steady.more(t, 100)
	steady.finish(t)
}
