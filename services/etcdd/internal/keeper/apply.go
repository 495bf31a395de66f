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

		k.setStatus(Status{Message: a.Reason, Failed: in.Wrong != "" && in.Wrong == in.Missing})

		return lookEvery, nil
	case plan.StayOut:
		k.resumed()
		k.forget()
		k.setStatus(Status{Message: a.Reason, Failed: o.Out == plan.OutRemoved})

		return settleEvery, nil
	case plan.Broken:
		k.setStatus(Status{Message: a.Reason, Failed: true})

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
		k.damaged = ""

		return 0, k.data().WipeMember()
	case plan.ReplaceLearner:
		return 0, k.remote().Remove(ctx, in.Peers, a.Member)
	case plan.AddLearner:
		return 0, k.addLearner(ctx, in)
	case plan.Restore:
		k.setStatus(Status{Message: a.Reason})

		return 0, k.data().Restore(in.Settings, o.SkipHash, k.log)
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
	if err := k.data().Room(); err != nil {
		return 0, err
	}

	member, err := k.startAs(a, in, o)
	if err != nil {
		return 0, err
	}

	k.setMember(member)
	k.setStatus(Status{Message: "waiting for the cluster to have a leader"})

	return promoteEvery, nil
}

func (k *Keeper) startAs(a plan.Action, in Input, o plan.Observed) (*engine.Member, error) {
	if a.Kind == plan.StartExisting {
		return k.startExisting(in)
	}

	// What an earlier try left has no log; etcd would stumble over a database without one.
	if err := k.data().WipeMember(); err != nil {
		return nil, err
	}

	switch a.Kind {
	case plan.StartNew:
		return engine.StartNew(in.Settings, k.log)
	case plan.Join:
		return engine.Join(in.Settings, k.log, o.Cluster)
	default:
		return nil, fmt.Errorf("unexpected action %s", a)
	}
}

// startExisting checks the data when the process has crashed over and over: on some damages etcd panics where nothing holds it.
func (k *Keeper) startExisting(in Input) (*engine.Member, error) {
	if err := k.data().Found(); err != nil && !k.byHand {
		return nil, err
	} else if err != nil {
		if err = k.data().ForgetDamage(); err != nil {
			return nil, err
		}
	}

	if k.suspect {
		k.suspect = false

		if err := k.data().Damage(); err != nil {
			return nil, err
		}
	}

	member, err := engine.StartExisting(in.Settings, k.log)
	if err != nil && !errors.Is(err, engine.ErrFull) && !errors.Is(err, engine.ErrDamaged) {
		if damage := k.data().Damage(); damage != nil {
			return nil, damage
		}
	}

	return member, err
}

// settle brings a running member to where it belongs: ready, with a vote, listed under its addresses, without a note.
func (k *Keeper) settle(ctx context.Context) (time.Duration, error) {
	m := k.Member()

	if !isClosed(m.Ready()) {
		return settleEvery, k.lonely(ctx, m) // sleep wakes when it is
	}

	k.resumed()
	k.known(m.ID)

	if err := k.data().Started(); err != nil {
		return 0, err
	}

	if !m.HasLeader() {
		k.setStatus(Status{Message: "the cluster has no leader", Learner: m.IsLearner()})

		return lookEvery, k.lonely(ctx, m)
	}

	k.alone = time.Time{}

	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()

	if m.IsLearner() {
		k.setStatus(Status{Message: "catching up with the leader", Learner: true, Ready: true})

		if err := m.Promote(ctx); err != nil {
			return k.notYet(err), nil
		}

		k.log.Info("etcd member has a vote", "member", fmt.Sprintf("%016x", m.ID))
	}

	if wrong := k.Input().Wrong; wrong != "" {
		k.setStatus(Status{Message: "runs as before, the configuration is not followed: " + wrong, Ready: true, Failed: true})
	} else {
		k.setStatus(Status{Message: "running", Ready: true})
	}

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
