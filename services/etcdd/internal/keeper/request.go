package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/plan"
	"github.com/dactyl-os/dactyl/services/kit/etcdsnapshot"
)

// Errors that callers tell apart.
var (
	ErrNotEmpty        = errors.New("etcd data directory is not empty")
	ErrClusterExists   = errors.New("etcd is already bootstrapped on another control plane node; this node will join it")
	ErrNotControlPlane = errors.New("bootstrap can only be performed on a control plane node")
	ErrRecovering      = errors.New("etcd is being recovered from a snapshot on this node; see: service etcd")
	ErrUploading       = errors.New("another snapshot is being uploaded to this node")
	ErrNotReady        = errors.New("etcd cannot start yet")
	ErrNotRunning      = errors.New("etcd is not running")
	ErrNoMember        = errors.New("this node is no member of an etcd cluster")
	ErrOnlyMember      = errors.New("this node is the only member of the etcd cluster: its data would be lost")
)

const (
	// probeTimeout bounds the look for a cluster that exists already.
	probeTimeout = 2 * time.Second
	// backTimeout is how long callers wait for a member to be back after a restart of the daemon.
	backTimeout = 8 * time.Second
)

// Bootstrap asks for a new cluster. The wish is on disk when it returns, so it outlives a crash.
func (k *Keeper) Bootstrap(ctx context.Context) error {
	note, err := k.mayBegin(ctx)

	switch {
	case err != nil:
		return err
	case note.Intent == plan.IntentBootstrap:
		return nil // asked for before, and under way
	case note.Intent == plan.IntentRecover:
		return ErrRecovering
	}

	return k.begin(engine.Note{Intent: plan.IntentBootstrap})
}

// Recover asks for a new cluster that begins with the snapshot that was uploaded, which is checked before. As with Bootstrap
// the wish is on disk. One that is under way begins again.
func (k *Keeper) Recover(ctx context.Context, skipHash bool) (etcdsnapshot.Info, error) {
	note, err := k.mayBegin(ctx)

	switch {
	case err != nil:
		return etcdsnapshot.Info{}, err
	case note.Intent == plan.IntentBootstrap:
		return etcdsnapshot.Info{}, ErrNotEmpty
	}

	info, err := k.data().Snapshot(skipHash)
	if err != nil {
		return info, err
	}

	k.log.Info("recovering etcd from snapshot: " + info.String())

	return info, k.begin(engine.Note{Intent: plan.IntentRecover, SkipHash: skipHash})
}

// Upload keeps what write writes as the snapshot to recover from.
func (k *Keeper) Upload(ctx context.Context, write func(io.Writer) error) error {
	if _, err := k.mayBegin(ctx); err != nil {
		return err
	}

	if !k.upload.TryLock() {
		return ErrUploading
	}
	defer k.upload.Unlock()

	return k.data().SaveSnapshot(write)
}

// mayBegin tells whether a new cluster may begin on this node, and what has begun already.
func (k *Keeper) mayBegin(ctx context.Context) (engine.Note, error) {
	in := k.Input()

	switch {
	case !in.ControlPlane:
		return engine.Note{}, ErrNotControlPlane
	case in.Missing != "":
		return engine.Note{}, fmt.Errorf("%w: %s", ErrNotReady, in.Missing)
	case k.Member() != nil:
		return engine.Note{}, ErrNotEmpty
	}

	state, note, err := k.data().State()

	switch {
	case err != nil:
		return note, err
	case state == plan.DataPresent:
		return note, ErrNotEmpty
	case !note.New() && k.clusterSeen(ctx, in):
		return note, ErrClusterExists
	}

	return note, nil
}

// begin notes the wish for a new cluster. A node that left begins anew.
func (k *Keeper) begin(note engine.Note) error {
	out, err := k.data().Out()
	if err == nil && out != "" {
		err = k.data().ComeBack()
	}

	if err == nil {
		err = k.data().SetNote(note)
	}

	if err != nil {
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
