package fake

import (
	"net"
	"testing"

	"github.com/cosi-project/runtime/api/v1alpha1"
	cosi "github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"
	"github.com/cosi-project/runtime/pkg/state/protobuf/server"
	"google.golang.org/grpc"

	"github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
)

// State serves an owner's resources on its socket from this process.
func State(t testing.TB, runDir, owner string) state.State {
	t.Helper()

	if err := resource.Register(); err != nil {
		t.Fatal(err)
	}

	listener, err := Listen(runDir, owner)
	if err != nil {
		t.Fatal(err)
	}

	store := state.WrapCore(namespaced.NewState(inmem.Build))
	rpc := grpc.NewServer()

	v1alpha1.RegisterStateServer(rpc, server.NewState(store))

	go func(listener net.Listener) { _ = rpc.Serve(listener) }(listener)

	t.Cleanup(rpc.Stop)

	return store
}

// PublishAPI sets the certificates of a configured node; client may be empty.
func PublishAPI(t testing.TB, trustd state.State, serverPair, client Pair, accepted ...*Authority) {
	t.Helper()

	spec := secrets.APICertsSpec{Server: &pki.CertificateAndKey{Crt: serverPair.Crt, Key: serverPair.Key}}
	if client.Crt != nil {
		spec.Client = &pki.CertificateAndKey{Crt: client.Crt, Key: client.Key}
	}

	for _, authority := range accepted {
		spec.AcceptedCAs = append(spec.AcceptedCAs, &pki.Certificate{Crt: authority.PEM})
	}

	res := secrets.NewAPICerts("secrets", secrets.APIID)
	*res.TypedSpec() = spec

	put(t, res.Metadata().ID(), func() error {
		if err := trustd.Create(t.Context(), res); !state.IsConflictError(err) {
			return err
		}

		_, err := trustd.UpdateWithConflicts(t.Context(), res.Metadata(), func(r cosi.Resource) error {
			*r.(*secrets.APICerts).TypedSpec() = spec //nolint:forcetypeassert // read by its own pointer

			return nil
		})

		return err
	})
}

// WithdrawAPI removes the certificates of a configured node.
func WithdrawAPI(t testing.TB, trustd state.State) {
	t.Helper()

	put(t, secrets.APIID, func() error {
		return trustd.Destroy(t.Context(), secrets.NewAPICerts("secrets", secrets.APIID).Metadata())
	})
}

// PublishMaintenance sets the certificate of a node without configuration.
func PublishMaintenance(t testing.TB, trustd state.State, pair Pair) {
	t.Helper()

	res := secrets.NewMaintenanceServiceCerts("secrets", secrets.MaintenanceServiceID)
	res.TypedSpec().Server = &pki.CertificateAndKey{Crt: pair.Crt, Key: pair.Key}

	put(t, res.Metadata().ID(), func() error { return trustd.Create(t.Context(), res) })
}

// RenewMaintenance puts another certificate in the place of the one that PublishMaintenance has published.
func RenewMaintenance(t testing.TB, trustd state.State, pair Pair) {
	t.Helper()

	pointer := secrets.NewMaintenanceServiceCerts("secrets", secrets.MaintenanceServiceID).Metadata()

	if _, err := safe.StateUpdateWithConflicts(t.Context(), trustd, pointer, func(res *secrets.MaintenanceServiceCerts) error {
		res.TypedSpec().Server = &pki.CertificateAndKey{Crt: pair.Crt, Key: pair.Key}

		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// PublishNone makes configd say that there is no machine configuration.
func PublishNone(t testing.TB, configd state.State) {
	publishType(t, configd, enums.MachineTypeUnknown)
}

// PublishConfig makes configd have the configuration of a worker.
func PublishConfig(t testing.TB, configd state.State) {
	publishType(t, configd, enums.MachineTypeWorker)
}

// WithdrawType makes configd say nothing about the machine.
func WithdrawType(t testing.TB, configd state.State) {
	t.Helper()

	put(t, config.MachineTypeID, func() error {
		return configd.Destroy(t.Context(), config.NewMachineType(config.NamespaceName, config.MachineTypeID).Metadata())
	})
}

func publishType(t testing.TB, configd state.State, value enums.MachineType) {
	t.Helper()

	res := config.NewMachineType(config.NamespaceName, config.MachineTypeID)

	put(t, res.Metadata().ID(), func() error {
		return configd.Modify(t.Context(), res, func(r cosi.Resource) error {
			r.(*config.MachineType).TypedSpec().Value = value //nolint:forcetypeassert // made above

			return nil
		})
	})
}

func put(t testing.TB, id string, change func() error) {
	t.Helper()

	if err := change(); err != nil {
		t.Fatalf("publish %s: %v", id, err)
	}
}
