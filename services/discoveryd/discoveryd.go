// Package discoveryd knows who is in the cluster, without any outside service.
package discoveryd

import (
	"context"
	"fmt"
	"path/filepath"

	clusterapi "github.com/dactyl-os/dactyl/proto/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/controllers"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/gossip"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/health"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/identity"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/standin"
	"github.com/dactyl-os/dactyl/services/kit/version"
)

// New wires the daemon.
func New(env *daemon.Env) error {
	ctx := context.Background()

	own := filepath.Join(env.StateDir, env.Name)

	nodeID, err := identity.Load(own, env.Log)
	if err != nil {
		return err
	}

	local := cluster.NewIdentity(cluster.NamespaceName, cluster.LocalIdentityID)
	local.TypedSpec().NodeID = nodeID

	if err := env.Local().Create(ctx, local); err != nil {
		return fmt.Errorf("publish identity: %w", err)
	}

	mesh := gossip.New(nodeID, gossip.Files{Table: env.RunFile("records"), StateDir: own}, env.Log)

	if err := controllers.Restore(ctx, env.Local(), mesh); err != nil {
		return err
	}

	if env.ConfigFile != "" {
		env.Go("network", standin.Network(env.Local()))
	}

	env.Go("gossip", mesh.Run)
	clusterapi.RegisterClusterServiceServer(env.Server(), health.New(mesh))

	if err := env.Controller(controllers.Config{}); err != nil {
		return err
	}

	if err := env.Controller(&controllers.Local{Mesh: mesh, Version: version.Tag}); err != nil {
		return err
	}

	return env.Controller(&controllers.Membership{Mesh: mesh})
}
