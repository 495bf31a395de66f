// Package watch keeps what the gateway knows from other daemons' resources: its certificates and the cluster's names.
package watch

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/gateway/internal/endpoint"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

const recheck = 500 * time.Millisecond

// Certificates puts the certificates that trustd publishes in force, and calls changed after each change.
type Certificates struct {
	State   state.State
	Store   *endpoint.Store
	Log     *slog.Logger
	Changed func()

	api         *secrets.APICertsSpec
	maintenance *secrets.MaintenanceServiceCertsSpec
}

// Run follows the resources until ctx ends.
func (c *Certificates) Run(ctx context.Context) error {
	ctx = peer.AsSelf(ctx)
	events := make(chan state.Event)

	follow(ctx, c.State, events, secrets.APICertsExtension{}, secrets.MaintenanceServiceCertsExtension{}, config.MachineTypeExtension{})

	var again <-chan time.Time

	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-events:
			if event.Type == state.Errored {
				return fmt.Errorf("watch certificates: %w", event.Error)
			}

			c.take(event)
		case <-again:
		}

		again = nil

		if settled := c.apply(ctx); !settled {
			again = time.After(recheck)
		}
	}
}

func (c *Certificates) take(event state.Event) {
	present := event.Type == state.Created || event.Type == state.Updated

	switch res := event.Resource.(type) {
	case *secrets.APICerts:
		if res.Metadata().ID() != secrets.APIID {
			return
		}

		if c.api = nil; present {
			c.api = res.TypedSpec()
		}
	case *secrets.MaintenanceServiceCerts:
		if res.Metadata().ID() != secrets.MaintenanceServiceID {
			return
		}

		if c.maintenance = nil; present {
			c.maintenance = res.TypedSpec()
		}
	}
}

// apply puts the material of the moment in force. What was in force stays when nothing better is there: trustd takes a
// moment to publish again after a restart. False asks to be called again.
func (c *Certificates) apply(ctx context.Context) bool {
	if c.api != nil {
		c.set(endpoint.Configured(pem(c.api.Server), pem(c.api.Client), authorities(c.api.AcceptedCAs)))

		return true
	}

	open := c.Store.Maintenance()
	if c.maintenance == nil && !open {
		return true
	}

	// Maintenance lets anyone configure the node: it takes two daemons to agree that there is no configuration, and one that
	// takes it back to end it.
	switch kind, err := c.machineType(ctx); {
	case state.IsNotFoundError(err):
		if open {
			c.Log.Warn("maintenance mode ends: configd does not say any more that there is no machine configuration")
			c.Store.Shut()
			c.Changed()
		}
	case err != nil:
		return false
	case kind == enums.MachineTypeUnknown && c.maintenance != nil:
		c.set(endpoint.Unconfigured(pem(c.maintenance.Server)))
	}

	return true
}

func (c *Certificates) set(material *endpoint.Material, err error) {
	if err != nil {
		c.Log.Error("certificates are not usable", "error", err)

		return
	}

	if !c.Store.Set(material) {
		return
	}

	if material.Maintenance() {
		c.Log.Info("maintenance mode: no machine configuration yet", "fingerprint", material.Fingerprint)
	} else {
		c.Log.Info("certificates in force", "forwards", material.Client != nil)
	}

	c.Changed()
}

// machineType asks configd: unknown is the type of a machine without a configuration. Of one whose configuration cannot be read
// there is none.
func (c *Certificates) machineType(ctx context.Context) (enums.MachineType, error) {
	ctx, cancel := context.WithTimeout(ctx, recheck)
	defer cancel()

	found, err := safe.StateGetByID[*config.MachineType](ctx, c.State, config.MachineTypeID)
	if err != nil {
		return enums.MachineTypeUnknown, err
	}

	return found.TypedSpec().Value, nil
}

func authorities(accepted []*pki.Certificate) [][]byte {
	out := make([][]byte, 0, len(accepted))

	for _, certificate := range accepted {
		if certificate != nil {
			out = append(out, certificate.Crt)
		}
	}

	return out
}

func pem(pair *pki.CertificateAndKey) endpoint.PEM {
	if pair == nil {
		return endpoint.PEM{}
	}

	return endpoint.PEM{Crt: pair.Crt, Key: pair.Key}
}
