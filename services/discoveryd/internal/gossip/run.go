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
	l := loop{Mesh: m, joined: make(chan error, 1)}
	defer l.stop()

	var written []byte

	for {
		l.follow(ctx)
		l.call(ctx)
		l.tellLarge()
		written = m.save(written)

		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case err := <-l.joined:
			l.answered(err)
		case <-time.After(l.pause()):
		}
	}
}

// loop is the state of Run, touched by its goroutine alone.
type loop struct {
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
func (l *loop) follow(ctx context.Context) {
	l.mu.Lock()
	want := l.settings
	l.mu.Unlock()

	if l.list != nil && !want.sameMesh(l.running) {
		l.stop()
		// A call of the old mesh that ends now would put its nodes into the new one.
		l.calls.Wait()
	}

	if l.list != nil || !want.usable() || time.Since(l.failed) < time.Second {
		l.running = want

		return
	}

	list, err := l.start(ctx, want)
	if err != nil {
		l.log.Warn("gossip cannot start", "error", err)
		l.failed = time.Now()

		return
	}

	l.list, l.running, l.round, l.nextCall, l.warned = list, want, 0, time.Time{}, false
	l.log.Info("gossip started", "address", want.Advertise, "port", Port)
}

func (l *loop) start(ctx context.Context, want Settings) (*memberlist.Memberlist, error) {
	transport, err := listen(ctx, "", Port)
	if err != nil {
		return nil, err
	}

	config := memberlist.DefaultLANConfig()
	config.Name = l.nodeID
	config.Transport = transport
	config.AdvertiseAddr, config.AdvertisePort = want.Advertise.String(), Port
	config.SecretKey, config.Label = want.Key, want.Label
	config.Delegate, config.Events = delegate{l.Mesh}, delegate{l.Mesh}
	config.Logger = quiet(l.log)
	config.TCPTimeout = streamTime
	config.RetransmitMult = retransmits
	// A node may come back with another address as soon as it counts as failed.
	config.DeadNodeReclaimTime = time.Second
	// Fits every network; compression would cost 64 KiB for each packet.
	config.UDPBufferSize, config.EnableCompression = 1200, false
	config.HandoffQueueDepth = 256
	// At the library's pace (1 s and 0.2 s) probes and empty rounds are half of what an idle node does. A node that fails stays
	// a member for longer than these take.
	config.ProbeInterval, config.GossipInterval = 3*time.Second, time.Second

	list, err := memberlist.Create(config)
	if err != nil {
		_ = transport.Shutdown()

		return nil, fmt.Errorf("start memberlist: %w", err)
	}

	return list, nil
}

// stop leaves, so that the others do not wait for this node, and lets a new
// address of it in at once.
func (l *loop) stop() {
	if l.list == nil {
		return
	}

	if err := l.list.Leave(leaveTime); err != nil {
		l.log.Debug("leave", "error", err)
	}

	_ = l.list.Shutdown()
	l.list = nil

	l.mu.Lock()
	l.presence.AllLeft(time.Now())
	clear(l.addresses)
	l.peers.Store(0)
	l.mu.Unlock()
}

// tellLarge sends an own record that no packet takes to every node.
func (l *loop) tellLarge() {
	l.mu.Lock()
	own, ok := l.table.Own()
	large := l.largeOwn && ok
	l.largeOwn = l.largeOwn && l.list == nil
	l.mu.Unlock()

	if !large || l.list == nil {
		return
	}

	list, data := l.list, own.Encode()

	l.calls.Go(func() {
		for _, node := range list.Members() {
			if node.Name == l.nodeID {
				continue
			}

			if err := list.SendReliable(node, data); err != nil {
				l.log.Debug("record not told, the next full exchange will", "node", node.Name, "error", err)
			}
		}
	})
}

// pause is how long nothing is due; it also ends graces that are over.
func (l *loop) pause() time.Duration {
	now := time.Now()

	l.mu.Lock()
	expired, next := l.presence.Expire(now)

	for _, nodeID := range expired {
		l.table.Forget(nodeID)
	}
	l.mu.Unlock()

	if len(expired) > 0 {
		l.log.Info("nodes gone", "nodes", expired)
		l.changed.Poke()
	}

	pause := time.Minute
	if !next.IsZero() {
		pause = min(pause, next.Sub(now))
	}

	switch {
	case l.list != nil && !l.calling:
		pause = min(pause, l.nextCall.Sub(now))
	case l.list == nil && l.running.usable():
		pause = min(pause, time.Second)
	}

	return max(pause, 10*time.Millisecond)
}

// quiet sends memberlist's log to the debug level: what matters is logged here.
func quiet(logger *slog.Logger) *log.Logger {
	return slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
}
