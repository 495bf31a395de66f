package gossip

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	retransmits = 4
	// leaveTime bounds how long a stop waits for the others to be told.
	leaveTime = 500 * time.Millisecond
	// streamTime bounds opening a stream and each exchange on it.
	streamTime = 3 * time.Second
	// lonelyRounds without an answer are worth a warning.
	lonelyRounds = 7
)

// Run keeps the mesh as it is configured until ctx ends; then it leaves.
func (m *Mesh) Run(ctx context.Context) error {
	r := runner{Mesh: m, joined: make(chan error, 1)}
	defer r.stop()

	var written []byte

	for {
		r.follow(ctx)
		r.call(ctx)
		r.tellLarge()
		written = m.save(written)

		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case err := <-r.joined:
			r.answered(err)
		case <-time.After(r.pause()):
		}
	}
}

// runner is the state of Run, touched by its goroutine alone.
type runner struct {
	*Mesh

	list     *memberlist.Memberlist
	running  Settings
	calling  bool
	joined   chan error
	round    int
	nextCall time.Time
	warned   bool
	failed   time.Time // when starting failed last
	calls    sync.WaitGroup
}

// follow starts, stops or restarts memberlist when the settings ask for it.
func (r *runner) follow(ctx context.Context) {
	r.mu.Lock()
	want := r.settings
	r.mu.Unlock()

	if r.list != nil && !want.sameMesh(r.running) {
		r.stop()
		// A call of the old mesh that ends now would put its nodes into the new one.
		r.calls.Wait()
	}

	if r.list != nil || !want.usable() || time.Since(r.failed) < time.Second {
		r.running = want

		return
	}

	list, err := r.start(ctx, want)
	if err != nil {
		r.log.Warn("gossip cannot start", "error", err)
		r.failed = time.Now()

		return
	}

	r.list, r.running, r.round, r.nextCall, r.warned = list, want, 0, time.Time{}, false
	r.log.Info("gossip started", "address", want.Advertise, "port", Port)
}

func (r *runner) start(ctx context.Context, want Settings) (*memberlist.Memberlist, error) {
	transport, err := listen(ctx, "", Port)
	if err != nil {
		return nil, err
	}

	config := memberlist.DefaultLANConfig()
	config.Name = r.nodeID
	config.Transport = transport
	config.AdvertiseAddr, config.AdvertisePort = want.Advertise.String(), Port
	config.SecretKey, config.Label = want.Key, want.Label
	config.Delegate, config.Events = delegate{r.Mesh}, delegate{r.Mesh}
	config.Logger = quiet(r.log)
	config.TCPTimeout = streamTime
	config.RetransmitMult = retransmits
	// A node may come back with another address as soon as it counts as failed.
	config.DeadNodeReclaimTime = time.Second
	// Fits every network; compression would cost 64 KiB for each packet.
	config.UDPBufferSize, config.EnableCompression = 1200, false
	config.HandoffQueueDepth = 256
	// At the library's pace (1 s and 0.2 s) probes and empty rounds are half of what an idle node does. A node that fails stays
	// a member for longer than these take.
	config.ProbeInterval, config.GossipInterval = 3*time.Second, 500*time.Millisecond

	list, err := memberlist.Create(config)
	if err != nil {
		_ = transport.Shutdown()

		return nil, fmt.Errorf("start memberlist: %w", err)
	}

	return list, nil
}

// stop leaves, so that the others do not wait for this node, and lets a new
// address of it in at once.
func (r *runner) stop() {
	if r.list == nil {
		return
	}

	if err := r.list.Leave(leaveTime); err != nil {
		r.log.Debug("leave", "error", err)
	}

	_ = r.list.Shutdown()
	r.list = nil

	r.mu.Lock()
	r.presence.AllLeft(time.Now())
	clear(r.addresses)
	r.peers.Store(0)
	r.mu.Unlock()
}

// tellLarge sends an own record that no packet takes to every node.
func (r *runner) tellLarge() {
	r.mu.Lock()
	own, ok := r.table.Own()
	large := r.largeOwn && ok
	r.largeOwn = r.largeOwn && r.list == nil
	r.mu.Unlock()

	if !large || r.list == nil {
		return
	}

	list, data := r.list, own.Encode()

	r.calls.Go(func() {
		for _, node := range list.Members() {
			if node.Name == r.nodeID {
				continue
			}

			if err := list.SendReliable(node, data); err != nil {
				r.log.Debug("record not told, the next full exchange will", "node", node.Name, "error", err)
			}
		}
	})
}

// pause is how long nothing is due; it also ends graces that are over.
func (r *runner) pause() time.Duration {
	now := time.Now()

	r.mu.Lock()
	expired, next := r.presence.Expire(now)

	for _, nodeID := range expired {
		r.table.Forget(nodeID)
	}
	r.mu.Unlock()

	if len(expired) > 0 {
		r.log.Info("nodes gone", "nodes", expired)
		r.changed.Poke()
	}

	pause := time.Minute
	if !next.IsZero() {
		pause = min(pause, next.Sub(now))
	}

	switch {
	case r.list != nil && !r.calling:
		pause = min(pause, r.nextCall.Sub(now))
	case r.list == nil && r.running.usable():
		pause = min(pause, time.Second)
	}

	return max(pause, 10*time.Millisecond)
}

// quiet sends memberlist's log to the debug level: what matters is logged here.
func quiet(logger *slog.Logger) *log.Logger {
	return slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
}
