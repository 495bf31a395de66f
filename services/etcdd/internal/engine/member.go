package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/plan"
)

// ErrRemoved is how a member ends that the cluster removed.
var ErrRemoved = errors.New("this member was removed from the cluster")

// ErrDamaged is why a member cannot be started from what is on the disk.
var ErrDamaged = errors.New("the data of this member is damaged")

// Member is a running etcd member in this process.
type Member struct {
	// ID in the cluster.
	ID uint64
	// Fingerprint of the settings it was started with.
	Fingerprint string

	etcd     *embed.Etcd
	client   *clientv3.Client
	peerURLs []string
	words    *lastWords
	close    func()
	done     chan struct{}
	err      error
}

// StartNew begins a new cluster with this member alone.
func StartNew(s Settings, log *slog.Logger) (*Member, error) {
	return start(s, log, initialCluster(s, nil), embed.ClusterStateFlagNew)
}

// Join starts a member that is already on the list of a running cluster.
func Join(s Settings, log *slog.Logger, members []plan.Member) (*Member, error) {
	return start(s, log, initialCluster(s, members), embed.ClusterStateFlagExisting)
}

// StartExisting starts a member from its data.
func StartExisting(s Settings, log *slog.Logger) (*Member, error) {
	return start(s, log, initialCluster(s, nil), embed.ClusterStateFlagExisting)
}

func start(s Settings, log *slog.Logger, cluster, state string) (*Member, error) {
	words := &lastWords{data: Data{Dir: s.DataDir}}
	words.opening.Store(true)

	cfg, err := s.config(words.logger(log), cluster, state)
	if err != nil {
		return nil, err
	}

	if err = os.MkdirAll(s.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make etcd data directory: %w", err)
	}

	etcd, err := open(cfg)
	if err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}

	words.opening.Store(false)

	m := &Member{
		ID: uint64(etcd.Server.MemberID()), Fingerprint: s.Fingerprint(), etcd: etcd, client: v3client.New(etcd.Server),
		peerURLs: s.PeerURLs, words: words, close: sync.OnceFunc(closer(etcd)), done: make(chan struct{}),
	}

	go m.supervise()

	return m, nil
}

// closer ends a server in order. One that was never ready would wait for that for ever.
func closer(etcd *embed.Etcd) func() {
	return func() {
		select {
		case <-etcd.Server.ReadyNotify():
		default:
			etcd.Server.HardStop()
		}

		etcd.Close()
	}
}

// open gives as an error what etcd and its database panic with on files that are damaged. What was opened by then stays open:
// this process cannot start from these files again.
func open(cfg *embed.Config) (etcd *embed.Etcd, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = fmt.Errorf("%w: %w", ErrDamaged, r)
		default:
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}

		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
	}()

	return embed.StartEtcd(cfg)
}

func (m *Member) supervise() {
	defer close(m.done)

	select {
	case <-m.etcd.Server.StopNotify():
	case m.err = <-m.etcd.Err():
	}

	m.close()

	// A member that ends while it starts gives its listeners' error, which says nothing.
	if err := m.words.err(); err != nil {
		m.err = err
	}

	if m.Removed() {
		m.err = ErrRemoved
	}
}

// Removed tells whether this member knows by itself that it was taken off the list; it ends a moment later.
func (m *Member) Removed() bool {
	list, ok := m.etcd.Server.Cluster().(interface{ IsIDRemoved(id types.ID) bool })

	return ok && list.IsIDRemoved(m.etcd.Server.MemberID())
}

// Client reaches the local member without a socket.
func (m *Member) Client() *clientv3.Client { return m.client }

// Ready is closed when the member is part of a cluster that has a leader.
func (m *Member) Ready() <-chan struct{} { return m.etcd.Server.ReadyNotify() }

// Done is closed when etcd has stopped; Err tells why.
func (m *Member) Done() <-chan struct{} { return m.done }

// Err waits for Done; nil after Stop.
func (m *Member) Err() error {
	<-m.done

	return m.err
}

// IsLearner tells whether the member has no vote yet. etcd's own answer panics in a member that was removed.
func (m *Member) IsLearner() bool {
	own := m.etcd.Server.Cluster().Member(m.etcd.Server.MemberID())

	return own != nil && own.IsLearner
}

// Status of the member; ErrRemoved in the moment between the removal and the end, when etcd's own answer panics.
func (m *Member) Status(ctx context.Context) (answer *clientv3.StatusResponse, err error) {
	defer func() {
		if r := recover(); r != nil {
			if !m.Removed() {
				panic(r)
			}

			err = ErrRemoved
		}
	}()

	return m.client.Status(ctx, "")
}

// IsLeader tells whether the member leads.
func (m *Member) IsLeader() bool { return m.etcd.Server.Leader() == m.etcd.Server.MemberID() }

// Defragment gives free space of the database back to the file system; the member does not answer meanwhile. etcd's
// in-process client cannot: it wants a health server to tell.
func (m *Member) Defragment() error {
	if err := m.etcd.Server.Backend().Defrag(); err != nil {
		return fmt.Errorf("defragment etcd: %w", err)
	}

	return nil
}

// Snapshot writes the database, followed by its SHA-256 as etcdctl's snapshots have it. The streams of etcd's in-process
// client cannot be used: they end with "context canceled", at times before their last message was read.
func (m *Member) Snapshot(w io.Writer) error {
	snapshot := m.etcd.Server.Backend().Snapshot()
	sum := sha256.New()

	_, err := snapshot.WriteTo(io.MultiWriter(w, sum))
	if err == nil {
		_, err = w.Write(sum.Sum(nil))
	}

	if err = errors.Join(err, snapshot.Close()); err != nil {
		return fmt.Errorf("snapshot etcd: %w", err)
	}

	return nil
}

// HasLeader tells whether the cluster has one that this member knows.
func (m *Member) HasLeader() bool { return m.etcd.Server.Leader() != 0 }

// Stop ends the member gracefully; etcd hands the leadership over by itself.
func (m *Member) Stop() {
	m.close()
	<-m.done
}

// Promote asks for a vote; it fails until the learner has caught up with the leader.
func (m *Member) Promote(ctx context.Context) error {
	if _, err := m.client.MemberPromote(ctx, m.ID); err != nil {
		return fmt.Errorf("promote etcd member: %w", err)
	}

	return nil
}

// etcd removes a member only when those that stay have been connected for its health interval, which they have not for
// some seconds after a start. patience is how long that is waited for, look how often. A change of members is dropped without
// a word when another one, a learner's promotion, is under way: attempt is how long an answer is waited for.
const (
	patience = 2 * etcdserver.HealthInterval
	look     = 200 * time.Millisecond
	attempt  = 3 * time.Second
)

// Remove takes a member off the list.
func (m *Member) Remove(ctx context.Context, id uint64) error {
	asked := false

	for until := time.Now().Add(patience); ; {
		late, err := m.tryRemove(ctx, id)

		switch {
		case asked && errors.Is(err, rpctypes.ErrMemberNotFound):
			return nil // an attempt that had no answer
		case late:
			asked = true
		case !errors.Is(err, rpctypes.ErrUnhealthy):
			return err
		}

		if time.Now().After(until) {
			return err
		}

		select {
		case <-ctx.Done():
			return err
		case <-m.done:
			return err
		case <-time.After(look):
		}
	}
}

// tryRemove tells whether the answer was late, so that nobody knows what became of the request.
func (m *Member) tryRemove(ctx context.Context, id uint64) (late bool, err error) {
	try, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()

	_, err = m.client.MemberRemove(try, id)

	return err != nil && try.Err() != nil && ctx.Err() == nil, err
}

// CorrectURLs tells the cluster this member's peer addresses when they are not what the list says.
func (m *Member) CorrectURLs(ctx context.Context) (bool, error) {
	for _, member := range m.etcd.Server.Cluster().Members() {
		if uint64(member.ID) != m.ID || sameSet(member.PeerURLs, m.peerURLs) {
			continue
		}

		if _, err := m.client.MemberUpdate(ctx, m.ID, m.peerURLs); err != nil {
			return false, fmt.Errorf("update etcd peer addresses: %w", err)
		}

		return true, nil
	}

	return false, nil
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// initialCluster is etcd's name=URL list. etcd matches the entries by URL; a name only has to be there and be unique.
func initialCluster(s Settings, members []plan.Member) string {
	var parts []string

	for _, url := range s.PeerURLs {
		parts = append(parts, s.Name+"="+url)
	}

	used := map[string]bool{s.Name: true}

	for _, m := range members {
		if m.Has(s.PeerURLs) {
			continue
		}

		name := m.Name
		if name == "" || used[name] {
			name = fmt.Sprintf("member-%016x", m.ID)
		}

		used[name] = true

		for _, url := range m.PeerURLs {
			parts = append(parts, name+"="+url)
		}
	}

	return strings.Join(parts, ",")
}
