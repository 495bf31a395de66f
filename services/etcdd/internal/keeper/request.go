package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/plan"
)

// Errors that callers tell apart.
var (
	ErrNotEmpty        = errors.New("etcd data directory is not empty")
	ErrClusterExists   = errors.New("etcd is already bootstrapped on another control plane node; this node will join it")
	ErrNotControlPlane = errors.New("etcd runs on control plane nodes only")
	ErrNotReady        = errors.New("etcd cannot start yet")
	ErrNotRunning      = errors.New("etcd is not running")
	ErrNoMember        = errors.New("this node is no member of an etcd cluster")
	ErrOnlyMember      = errors.New("this node is the only member of the etcd cluster: its data would be lost")
)

const (
	// probeTimeout bounds the look for a cluster that exists already.
	probeTimeout = 2 * time.Second
	// look is how often the data of a member that left is looked for.
	look = 50 * time.Millisecond
	// backTimeout is how long callers wait for a member to be back after a restart of the daemon.
	backTimeout = 8 * time.Second
)

// Bootstrap asks for a new cluster. The wish is on disk when it returns, so it outlives a crash.
func (k *Keeper) Bootstrap(ctx context.Context) error {
	in := k.Input()

	switch {
	case !in.ControlPlane:
		return ErrNotControlPlane
	case in.Missing != "":
		return fmt.Errorf("%w: %s", ErrNotReady, in.Missing)
	case k.Member() != nil:
		return ErrNotEmpty
	}

	state, note, err := k.data().State()

	switch {
	case err != nil:
		return err
	case state == plan.DataPresent:
		return ErrNotEmpty
	case note.Intent == plan.IntentBootstrap:
		return nil // asked for before, and under way
	}

	if k.clusterSeen(ctx, in) {
		return ErrClusterExists
	}

	// A node that left begins anew.
	if out, err := k.data().Out(); err != nil {
		return err
	} else if out != "" {
		if err := k.data().ComeBack(); err != nil {
			return err
		}
	}

	if err = k.data().SetNote(engine.Note{Intent: plan.IntentBootstrap}); err != nil {
		return err
	}

	k.wake.Poke()

	return nil
}

func (k *Keeper) clusterSeen(ctx context.Context, in Input) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()

	members, err := k.remote().Members(ctx, in.Peers)

	return err == nil && len(members) > 0
}

// Running gives the member, or an error that says why there is none. After a restart of the daemon it waits a moment for
// the member to be back.
func (k *Keeper) Running(ctx context.Context) (*engine.Member, error) {
	k.awaitBack(ctx)

	m := k.Member()
	if m == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotRunning, k.Status().Message)
	}

	return m, nil
}

func (k *Keeper) awaitBack(ctx context.Context) {
	if k.back == nil {
		return
	}

	timer := time.NewTimer(backTimeout)
	defer timer.Stop()

	select {
	case <-k.back:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Leave takes this node off the member list, stops the member and removes its data. The last member cannot leave.
func (k *Keeper) Leave(ctx context.Context) error {
	m, err := k.Running(ctx)
	if err != nil {
		if state, note, e := k.data().State(); e == nil && k.Input().Missing == "" && state == plan.DataNone && note.Intent == plan.IntentNone {
			return fmt.Errorf("%w: %s", ErrNoMember, k.Status().Message)
		}

		return err
	}

	list, err := m.Client().MemberList(ctx)
	if err != nil {
		return fmt.Errorf("list etcd members: %w", err)
	}

	if len(list.Members) == 1 {
		return ErrOnlyMember
	}

	// A leader that removes itself may stop before it answers.
	if err = m.Remove(ctx, m.ID); err != nil && !m.Removed() {
		if errors.Is(err, rpctypes.ErrUnhealthy) {
			err = fmt.Errorf("%w (a member came or went; try again in some seconds)", err)
		}

		return fmt.Errorf("remove this member from the cluster: %w", err)
	}

	if err = k.data().SetOut(plan.OutLeft); err != nil {
		return err
	}

	return k.awaitOut(ctx, m)
}

// awaitOut waits until the member that was removed has ended and its data is gone.
func (k *Keeper) awaitOut(ctx context.Context, m *engine.Member) error {
	select {
	case <-m.Done():
	case <-ctx.Done():
		return ctx.Err()
	}

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
