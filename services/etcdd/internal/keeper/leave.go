package keeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/plan"
)

const (
	// look is how often the data of a member that left is looked for.
	look = 50 * time.Millisecond
	// offTimeout bounds the question whether this member is still on the list.
	offTimeout = 3 * time.Second
)

// Leave takes this node's member off the list, stops it and removes its data. The last member cannot leave. One that does not
// run, because its data is damaged, leaves with the help of the other control plane nodes.
func (k *Keeper) Leave(ctx context.Context) error {
	m, err := k.Running(ctx)
	if err != nil {
		return k.leaveStopped(ctx, err)
	}

	list, err := m.Client().MemberList(ctx)
	if err != nil && !k.off(ctx, m) {
		return fmt.Errorf("list etcd members: %w", err)
	}

	if err == nil && len(list.Members) == 1 {
		return ErrOnlyMember
	}

	k.leaving.Store(m.ID)
	defer k.leaving.Store(0)

	// A member that is removed may stop before it has the answer, or hears another one.
	if err = m.Remove(ctx, m.ID); err != nil && !k.off(ctx, m) {
		if errors.Is(err, rpctypes.ErrUnhealthy) {
			err = fmt.Errorf("%w (a member came or went; try again in some seconds)", err)
		}

		return fmt.Errorf("remove this member from the cluster: %w", err)
	}

	if err = k.data().SetOut(plan.OutLeft); err != nil {
		return err
	}

	select {
	case <-m.Done():
	case <-time.After(offTimeout): // cut off, it does not hear that it was removed
		m.Stop()
	}

	return k.awaitWiped(ctx)
}

// off tells whether a member is off the list: it knows it itself, ended for it, or the other nodes' list is without it.
func (k *Keeper) off(ctx context.Context, m *engine.Member) bool {
	if m.Removed() || isClosed(m.Done()) && errors.Is(m.Err(), engine.ErrRemoved) {
		return true
	}

	list, err := k.others(ctx)

	return err == nil && !slices.ContainsFunc(list, func(other plan.Member) bool { return other.ID == m.ID })
}

// others is the member list of which a majority of the cluster is sure, as another node gives it.
func (k *Keeper) others(ctx context.Context) ([]plan.Member, error) {
	in := k.Input()
	if len(in.Peers) == 0 {
		return nil, errors.New("no other control plane node is known")
	}

	// The caller's time may have run out with the call that has failed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), offTimeout)
	defer cancel()

	return k.remote().Members(ctx, in.Peers)
}

// leaveStopped takes a member off the list that does not run, for the reason why.
func (k *Keeper) leaveStopped(ctx context.Context, why error) error {
	in := k.Input()
	if in.Missing != "" || !in.ControlPlane {
		return why
	}

	state, note, err := k.data().State()

	switch {
	case err != nil:
		return err
	case state == plan.DataNone && note.Intent == plan.IntentNone:
		return fmt.Errorf("%w: %s", ErrNoMember, k.Status().Message)
	}

	list, err := k.others(ctx)
	if err != nil {
		return fmt.Errorf("%w; to leave it needs another control plane node that answers: %w", why, err)
	}

	id := k.Status().Member
	own := slices.IndexFunc(list, func(m plan.Member) bool { return m.ID == id || m.Has(in.Settings.PeerURLs) })

	switch {
	case own >= 0 && len(list) == 1:
		return ErrOnlyMember
	case own >= 0:
		if err = k.remote().Remove(ctx, in.Peers, list[own].ID); err != nil {
			return fmt.Errorf("remove this member from the cluster: %w", err)
		}
	}

	if err = k.data().SetOut(plan.OutLeft); err != nil {
		return err
	}

	k.wake.Poke()

	return k.awaitWiped(ctx)
}

// awaitWiped waits until the data of the member that left is gone.
func (k *Keeper) awaitWiped(ctx context.Context) error {
	for {
		if state, _, err := k.data().State(); err == nil && state == plan.DataNone {
			return nil
		}

		select {
		case <-time.After(look):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lonely settles a member without a leader that the cluster has removed, or that is of a cluster which is no more: nobody may
// be left that tells it. It asks when there has been no leader for some seconds.
func (k *Keeper) lonely(ctx context.Context, m *engine.Member) error {
	if k.alone.IsZero() {
		k.alone = time.Now()
	}

	if time.Since(k.alone) < settleEvery {
		return nil
	}

	k.alone = time.Time{}

	list, err := k.others(ctx)
	if err != nil || slices.ContainsFunc(list, func(other plan.Member) bool { return other.ID == m.ID }) {
		return nil //nolint:nilerr // nobody knows better: it goes on waiting
	}

	k.stopMember()

	return k.removed(m.ID)
}
