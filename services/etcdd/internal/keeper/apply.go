package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/plan"
)

// settleTimeout bounds one call to the own cluster; etcd's own limit is about as long.
const settleTimeout = 5 * time.Second

// apply does one action and tells how long to pause before the next look.
func (k *Keeper) apply(ctx context.Context, a plan.Action, o plan.Observed) (time.Duration, error) {
	in := k.Input()

	switch a.Kind {
	case plan.Wait:
		if in.Missing == "" {
			k.resumed()
			k.forget()
		}

		k.setStatus(Status{Message: a.Reason})

		return lookEvery, nil
	case plan.StayOut:
		k.resumed()
		k.forget()
		k.setStatus(Status{Message: a.Reason, Failed: o.Out == plan.OutRemoved})

		return settleEvery, nil
	case plan.ComeBack:
		return 0, k.data().ComeBack()
	case plan.Keep:
		return k.settle(ctx)
	case plan.Stop:
		if !in.ControlPlane {
			k.forget()
		}

		k.setStatus(Status{Message: a.Reason})
		k.stopMember()

		return 0, nil
	case plan.Wipe:
		return 0, k.data().WipeMember()
	case plan.ReplaceLearner:
		return 0, k.remote().Remove(ctx, in.Peers, a.Member)
	case plan.AddLearner:
		return 0, k.addLearner(ctx, in)
	default:
		return k.start(a, in, o)
	}
}

// The note is written after the answer: killed in between, the entry is on the list without a note and is replaced.
func (k *Keeper) addLearner(ctx context.Context, in Input) error {
	id, err := k.remote().AddLearner(ctx, in.Peers, in.Settings.PeerURLs)
	if err != nil {
		return fmt.Errorf("add learner: %w", err)
	}

	return k.data().SetNote(engine.Note{Intent: plan.IntentJoin, Member: id})
}

func (k *Keeper) start(a plan.Action, in Input, o plan.Observed) (time.Duration, error) {
	var (
		member *engine.Member
		err    error
	)

	switch a.Kind {
	case plan.StartExisting:
		member, err = engine.StartExisting(in.Settings, k.log)
	case plan.StartNew, plan.Join:
		// What an earlier try left has no log; etcd would stumble over a database without one.
		if err = k.data().WipeMember(); err != nil {
			return 0, err
		}

		if a.Kind == plan.StartNew {
			member, err = engine.StartNew(in.Settings, k.log)
		} else {
			member, err = engine.Join(in.Settings, k.log, o.Cluster)
		}
	default:
		return 0, fmt.Errorf("unexpected action %s", a)
	}

	if err != nil {
		return 0, err
	}

	k.setMember(member)
	k.setStatus(Status{Message: "waiting for the cluster to have a leader"})

	return promoteEvery, nil
}

// settle brings a running member to where it belongs: ready, with a vote, listed under its addresses, without a note.
func (k *Keeper) settle(ctx context.Context) (time.Duration, error) {
	m := k.Member()

	if !isClosed(m.Ready()) {
		return settleEvery, nil // sleep wakes when it is
	}

	k.resumed()
	k.known(m.ID)

	if err := k.data().ClearNote(); err != nil {
		return 0, err
	}

	if !m.HasLeader() {
		k.setStatus(Status{Message: "the cluster has no leader", Learner: m.IsLearner()})

		return lookEvery, nil
	}

	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()

	if m.IsLearner() {
		k.setStatus(Status{Message: "catching up with the leader", Learner: true, Ready: true})

		if err := m.Promote(ctx); err != nil {
			return k.notYet(err), nil
		}

		k.log.Info("etcd member has a vote", "member", fmt.Sprintf("%016x", m.ID))
	}

	k.setStatus(Status{Message: "running", Ready: true})

	moved, err := m.CorrectURLs(ctx)
	if moved {
		k.log.Info("etcd peer addresses updated")
	}

	return settleEvery, err
}

func (k *Keeper) notYet(err error) time.Duration {
	if !errors.Is(err, context.DeadlineExceeded) {
		k.log.Debug("etcd learner is not promoted yet", "error", err)
	}

	return promoteEvery
}
