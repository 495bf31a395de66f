package trustd_test

import (
	"context"
	"strings"
	"testing"
	"time"

	cosiv1 "github.com/cosi-project/runtime/api/v1alpha1"
	cosi "github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/machine"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestOneDaemonIsNotAllOthers: what a daemon that was taken over, somebody outside, or root in a container could do to a
// control plane's configuration and keys, tried against configd and trustd.
func TestOneDaemonIsNotAllOthers(t *testing.T) {
	t.Parallel()
	kittest.RequireRoot(t)

	configd := kittest.Start(t, "../configd/cmd/configd", kittest.Options{})
	trustd := kittest.Start(t, pkg, kittest.Options{NS: kittest.LAN(t, 1)[0], RunDir: configd.RunDir, Env: []string{"DACTYL_HOSTNAME=cp-1"}})
	st := states(t, trustd)
	controlPlane, _ := configs(t)

	if _, err := machine.NewMachineServiceClient(configd.Conn()).ApplyConfiguration(t.Context(), &machine.ApplyConfigurationRequest{
		Data: []byte(text(t, controlPlane)), Mode: machine.ApplyConfigurationRequest_NO_REBOOT,
	}); err != nil {
		t.Fatal(err)
	}

	await(t, st, secrets.OSRootID, "the OS CA", func(*secrets.OSRoot) bool { return true })

	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()

	from := func(name string, d *kittest.Daemon) (*grpc.ClientConn, state.State) {
		conn := d.ConnAs(t, name)

		return conn, state.WrapCore(client.NewAdapter(cosiv1.NewStateClient(conn)))
	}

	_, asTimed := from("timed", configd)
	timedAtTrustd, timedKeys := from("timed", trustd)
	_, outside := from("gateway", configd)
	_, container := from(".", trustd)
	admin := metadata.AppendToOutgoingContext(ctx, access.RoleKey, access.Admin)
	active := configres.NewMachineConfig(configres.NamespaceName, configres.ActiveID)

	seen, err := safe.StateGetByID[*configres.MachineConfig](ctx, asTimed, configres.ActiveID)
	if err != nil {
		t.Fatal(err)
	}

	if loaded, err := config.Load(seen.TypedSpec().Data); err != nil || loaded.Machine().Token != config.Mask {
		t.Errorf("timed reads the configuration with its secrets (%v)", err)
	}

	for what, tc := range map[string]struct {
		err  error
		want string
	}{
		"timed reads the OS CA": {second(safe.StateGetByID[*secrets.OSRoot](ctx, timedKeys, secrets.OSRootID)), "timed is not one of its readers"},
		"timed has an os:admin certificate made": {
			second(machine.NewMachineServiceClient(timedAtTrustd).GenerateClientConfiguration(ctx,
				&machine.GenerateClientConfigurationRequest{Roles: []string{access.Admin}, CrtTtl: durationpb.New(time.Hour)})), "timed may not call",
		},
		"timed overwrites the machine type": {asTimed.Modify(ctx, configres.NewMachineType(configres.NamespaceName, configres.MachineTypeID), otherType), "is written by configd, not by timed"},
		"timed destroys the configuration":  {asTimed.Destroy(ctx, active.Metadata()), "is written by configd, not by timed"},
		"an administrator writes one":       {outside.Create(admin, configres.NewMachineConfig(configres.NamespaceName, "other")), "write access is not allowed"},
		"an administrator destroys it":      {outside.Destroy(admin, active.Metadata()), "write access is not allowed"},
		"root in no cgroup of ours reads the OS CA": {
			second(safe.StateGetByID[*secrets.OSRoot](ctx, container, secrets.OSRootID)), "none of this node's daemons",
		},
	} {
		if tc.err == nil || !strings.Contains(tc.err.Error(), "code = PermissionDenied") || !strings.Contains(tc.err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", what, tc.err, tc.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func otherType(r cosi.Resource) error {
	return r.(*configres.MachineType).TypedSpec().Value.UnmarshalText([]byte("worker"))
}
