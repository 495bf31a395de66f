// Package trustd holds the keys: it issues and renews the machine's
// certificates, signs those of workers and makes client configurations.
package trustd

import (
	"context"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/standin"
	"github.com/dactyl-os/dactyl/services/trustd/internal/controllers"
	"github.com/dactyl-os/dactyl/services/trustd/internal/service"
)

// patience is how long certificates wait for networkd at the first start.
const patience = 3 * time.Second

// New wires the daemon.
func New(env *daemon.Env) error {
	// A trustd that starts again goes on with the certificates that its last run issued.
	env.Keep(kinds()...)

	if env.Alone() {
		env.Go("network", standin.Network(env.Local()))
	}

	machine.RegisterMachineServiceServer(env.Server(), &service.Machine{Local: env.Local(), State: env.State, Now: time.Now})

	security := &service.Security{Local: env.Local(), State: env.State, Laptop: env.Alone(), Log: env.Log, Now: time.Now}

	if listener, ok := env.Listener("tcp-50001"); ok {
		env.Go("signing", func(ctx context.Context) error { return security.Serve(ctx, listener) })
	} else if env.Alone() {
		env.Go("signing", security.ListenAndServe)
	}

	shared := controllers.Env{Log: env.Log, Now: time.Now}

	for _, ctrl := range []controller.Controller{
		&controllers.Roots{Env: shared},
		&controllers.SANs{Env: shared, Patience: patience},
		&controllers.API{Env: shared},
		&controllers.Trustd{Env: shared},
		&controllers.Etcd{Env: shared},
		&controllers.Maintenance{Env: shared},
	} {
		if err := env.Controller(ctrl); err != nil {
			return err
		}
	}

	return nil
}

func kinds() []resource.Kind {
	var list []resource.Kind

	for _, typ := range []resource.Type{
		secrets.OSRootType, secrets.EtcdRootType, secrets.KubernetesRootType, secrets.CertSANType,
		secrets.APICertsType, secrets.TrustdCertsType, secrets.EtcdCertsType, secrets.MaintenanceServiceCertsType,
	} {
		list = append(list, resource.NewMetadata(secrets.NamespaceName, typ, "", resource.VersionUndefined))
	}

	return list
}
