// Package keeper keeps the etcd member of this node as the plan says: one goroutine looks, decides, applies, and looks
// again when something changed or some time has passed.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/plan"

	"github.com/dactyl-os/dactyl/services/kit/backoff"
	"github.com/dactyl-os/dactyl/services/kit/poke"
)

const (
	lookEvery    = time.Second            // for a cluster to join
	promoteEvery = 300 * time.Millisecond // a learner catches up within moments
	settleEvery  = 5 * time.Second        // a member that runs
	backoffMax   = 15 * time.Second       // after an error
	failedAfter  = 4                      // errors in a row, half a minute: that does not mend itself
)

// Input is what the node wants.
type Input struct {
	ControlPlane bool
	// Missing says what is waited for before anything can run ("waiting for …"); empty when Settings are complete.
	Missing string
	// Wrong says what in the configuration is not followed; a member that runs goes on as before.
	Wrong    string
	Settings engine.Settings
	// Peers are addresses of the other control plane nodes.
	Peers []netip.Addr
}

// Status is what there is.
type Status struct {
	// Message is a sentence for people.
	Message string
	// Member is the ID of this node's member, also while it starts again; 0 when the node has none.
	Member  uint64
	Ready   bool
	Learner bool
	// Failed: it stays like this until somebody does something.
	Failed bool
}

// Keeper of the member.
type Keeper struct {
	log    *slog.Logger
	report func(Status)
	wake   poke.Chan

	mu     sync.Mutex
	input  Input
	member *engine.Member
	status Status
	id     uint64

	// upload is held while a snapshot is being received.
	upload sync.Mutex
	// leaving is the member that was asked to leave and may be off the list before anybody has said so; 0: none.
	leaving atomic.Uint64

	// back is closed when it is known whether the member of before a restart runs again; nil when there was none.
	back     chan struct{}
	backOnce sync.Once

	// Only the loop's goroutine uses these.
	byHand   bool
	failures int
	alone    time.Time // since when a running member has no leader
	suspect  bool      // the data is checked before a member is started from it
	damaged  string    // why none can be
	retry    backoff.Backoff
}

// New makes a keeper; report is called from its goroutine whenever the status changes.
func New(log *slog.Logger, report func(Status)) *Keeper {
	return &Keeper{
		log: log, report: report, wake: poke.New(), retry: backoff.Backoff{First: lookEvery, Most: backoffMax},
		input: Input{ControlPlane: true, Missing: "waiting for the machine configuration"},
	}
}

// Resume says that a member is expected to come back from its data: callers wait for it a moment. id is 0 when it is not
// known. Only before Run.
func (k *Keeper) Resume(id uint64) { k.back, k.id, k.status.Member = make(chan struct{}), id, id }

// ByHand says that somebody started the daemon: a node that left joins again. Only before Run.
func (k *Keeper) ByHand() { k.byHand = true }

// Suspect says that the last runs crashed: the data is checked before a member is started from it. Only before Run.
func (k *Keeper) Suspect() { k.suspect = true }

func (k *Keeper) resumed() {
	if k.back != nil {
		k.backOnce.Do(func() { close(k.back) })
	}
}

// Set gives a new input.
func (k *Keeper) Set(in Input) {
	k.mu.Lock()
	k.input = in
	k.mu.Unlock()
	k.wake.Poke()
}

// Input gives the current one.
func (k *Keeper) Input() Input {
	k.mu.Lock()
	defer k.mu.Unlock()

	return k.input
}

// Status gives the current one.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()

	return k.status
}

// Member gives the running member, or nil.
func (k *Keeper) Member() *engine.Member {
	k.mu.Lock()
	defer k.mu.Unlock()

	return k.member
}

// Run keeps the member until ctx ends and then stops it gracefully.
func (k *Keeper) Run(ctx context.Context) error {
	defer k.stopMember()

	for ctx.Err() == nil {
		pause, err := k.step(ctx)
		if err != nil && ctx.Err() == nil {
			pause = k.failed(err)
		} else if m := k.Member(); m == nil || isClosed(m.Ready()) {
			k.failures = 0 // one that was started may end at once, again and again
		}

		k.sleep(ctx, pause)
	}

	return nil
}

func (k *Keeper) sleep(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()

	var done, ready <-chan struct{}
	if m := k.Member(); m != nil {
		done = m.Done()

		if !isClosed(m.Ready()) {
			ready = m.Ready()
		}
	}

	select {
	case <-ctx.Done():
	case <-k.wake:
	case <-done:
	case <-ready:
	case <-timer.C:
	}
}

func (k *Keeper) failed(err error) time.Duration {
	k.failures++
	pause := k.retry.Next()

	k.resumed()
	k.log.Warn("etcd step", "error", err, "retry", pause)

	message := err.Error()
	if errors.Is(err, engine.ErrDamaged) {
		message += giveAnew
		k.damaged = message
	}

	if k.Member() == nil {
		k.setStatus(Status{Message: message, Failed: k.damaged != "" || errors.Is(err, engine.ErrFull) || k.failures >= failedAfter})
	}

	return pause
}

// giveAnew is what can be done about data that is damaged.
const giveAnew = "; if the cluster has other members, have them give it anew (etcd rejoin); if not, reset the node and recover from a snapshot (bootstrap --recover-from)"

func (k *Keeper) step(ctx context.Context) (time.Duration, error) {
	if err := k.reap(); err != nil {
		return 0, err
	}

	observed, err := k.observe(ctx)
	if err != nil {
		return 0, err
	}

	action := plan.Decide(observed)
	if action.Kind.Acts() {
		k.log.Info("etcd", "action", action.Kind.String(), "reason", action.Reason)
	}

	pause, err := k.apply(ctx, action, observed)
	if err == nil && observed.Config == "" {
		k.byHand = false // the start was looked at
	}

	return pause, err
}

// reap notices that etcd stopped by itself.
func (k *Keeper) reap() error {
	m := k.Member()
	if m == nil {
		return nil
	}

	if !isClosed(m.Done()) {
		return nil
	}

	k.setMember(nil)

	if errors.Is(m.Err(), engine.ErrRemoved) {
		return k.removed(m.ID)
	}

	if out, err := k.data().Out(); err == nil && out != "" {
		return nil
	}

	return fmt.Errorf("etcd stopped: %w", m.Err())
}

// removed notes that a member is off the list: its node stays out, because it was asked to leave or the others removed it.
func (k *Keeper) removed(id uint64) error {
	out, err := k.data().Out()
	if err != nil || out != "" {
		return err
	}

	if k.leaving.Load() == id {
		return k.data().SetOut(plan.OutLeft)
	}

	return k.data().SetOut(plan.OutRemoved)
}

func (k *Keeper) observe(ctx context.Context) (plan.Observed, error) {
	in := k.Input()
	o := plan.Observed{
		ControlPlane: in.ControlPlane, Config: in.Missing, PeerURLs: in.Settings.PeerURLs,
		Settings: in.Settings.Fingerprint(), Peers: len(in.Peers), ByHand: k.byHand, Damaged: k.damaged,
	}

	if m := k.Member(); m != nil {
		o.Running, o.RunningSettings = true, m.Fingerprint

		return o, nil
	}

	if !in.ControlPlane || o.Config != "" {
		return o, nil
	}

	state, note, err := k.data().State()
	if err != nil {
		return o, err
	}

	o.Data, o.Intent, o.IntentID, o.SkipHash = state, note.Intent, note.Member, note.SkipHash

	if o.Out, err = k.data().Out(); err != nil || o.Out != "" {
		return o, err
	}

	if state == plan.DataNone && !note.New() && len(in.Peers) > 0 {
		if o.Cluster, err = k.remote().Members(ctx, in.Peers); err != nil {
			o.ClusterError = err.Error()
		}
	}

	return o, nil
}

func (k *Keeper) data() engine.Data     { return engine.Data{Dir: k.Input().Settings.DataDir} }
func (k *Keeper) remote() engine.Remote { return engine.Remote{Keys: k.Input().Settings.Keys} }

func (k *Keeper) setMember(m *engine.Member) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.member = m
}

func (k *Keeper) setStatus(s Status) {
	k.mu.Lock()
	s.Member = k.id
	changed := k.status != s
	k.status = s
	k.mu.Unlock()

	if changed {
		k.report(s)
	}
}

// known says which member this node is, forget that it is none. The next status tells.
func (k *Keeper) known(id uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.id = id
}

func (k *Keeper) forget() { k.known(0) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (k *Keeper) stopMember() {
	if m := k.Member(); m != nil {
		m.Stop()
		k.setMember(nil)
	}
}
