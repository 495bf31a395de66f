package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/gossip"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/record"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/spec"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

const membershipName = "discoveryd.Membership"

// rawNamespace has one affiliate for each registry and other node, before they are merged. Gossip is our only registry; it
// stands for the discovery service of the contract.
const (
	rawNamespace = "cluster-raw"
	registry     = "service/"
)

// affiliates are those of a view, merged and raw.
func affiliates(view gossip.View) []*cluster.Affiliate {
	var all []*cluster.Affiliate

	add := func(namespace, id string, r record.Record) {
		affiliate := cluster.NewAffiliate(namespace, id)
		*affiliate.TypedSpec() = spec.Affiliate(r)
		all = append(all, affiliate)
	}

	for _, r := range view.Affiliates {
		add(cluster.NamespaceName, r.NodeID, r)

		if r.NodeID != view.Self {
			add(rawNamespace, registry+r.NodeID, r)
		}
	}

	return all
}

// Membership shows whom the mesh knows.
type Membership struct{ Mesh *gossip.Mesh }

// Name is the owner of the outputs.
func (*Membership) Name() string { return membershipName }

// Inputs of the controller: the mesh is no resource.
func (*Membership) Inputs() []controller.Input { return nil }

// Outputs of the controller.
func (*Membership) Outputs() []controller.Output {
	return []controller.Output{
		{Type: cluster.AffiliateType, Kind: controller.OutputExclusive},
		{Type: cluster.MemberType, Kind: controller.OutputExclusive},
	}
}

// Run until ctx ends.
func (ctrl *Membership) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Timed(ctx, r, ctrl.Mesh.Changed(), func() (time.Duration, error) {
		view, ok := ctrl.Mesh.View()
		if !ok {
			return 0, nil
		}

		return 0, publish(ctx, r, view)
	})
}

func publish(ctx context.Context, r controller.Runtime, view gossip.View) error {
	r.StartTrackingOutputs()

	for _, wanted := range affiliates(view) {
		if err := safe.WriterModify(ctx, r, wanted, func(affiliate *cluster.Affiliate) error {
			*affiliate.TypedSpec() = *wanted.TypedSpec()

			return nil
		}); err != nil {
			return fmt.Errorf("publish affiliate: %w", err)
		}
	}

	for _, member := range view.Members {
		if err := safe.WriterModify(ctx, r, cluster.NewMember(cluster.NamespaceName, member.Name), func(m *cluster.Member) error {
			*m.TypedSpec() = spec.Member(member.Record)

			return nil
		}); err != nil {
			return fmt.Errorf("publish member: %w", err)
		}
	}

	// All kinds in one call: it ends the tracking.
	if err := r.CleanupOutputs(ctx,
		cluster.NewAffiliate(cluster.NamespaceName, "").Metadata(), cluster.NewAffiliate(rawNamespace, "").Metadata(),
		cluster.NewMember(cluster.NamespaceName, "").Metadata()); err != nil {
		return fmt.Errorf("withdraw affiliates and members: %w", err)
	}

	return nil
}

// Restore publishes what the mesh knows from the daemon's earlier life, before
// anybody can ask: a watcher that comes back must not see the members gone.
func Restore(ctx context.Context, local state.State, mesh *gossip.Mesh) error {
	view, ok := mesh.View()
	if !ok {
		return nil
	}

	for _, affiliate := range affiliates(view) {
		if err := local.Create(ctx, affiliate, state.WithCreateOwner(membershipName)); err != nil {
			return fmt.Errorf("restore affiliate: %w", err)
		}
	}

	for _, member := range view.Members {
		m := cluster.NewMember(cluster.NamespaceName, member.Name)
		*m.TypedSpec() = spec.Member(member.Record)

		if err := local.Create(ctx, m, state.WithCreateOwner(membershipName)); err != nil {
			return fmt.Errorf("restore member: %w", err)
		}
	}

	return nil
}
