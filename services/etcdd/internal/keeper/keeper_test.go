package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/keeper"
)

// A cluster of three comes up from one bootstrap call; members, data and IDs outlive kills and a graceful stop.
func TestClusterLife(t *testing.T) {
	t.Parallel()

	c := newCluster(t, 3)
	first := c.nodes[0]

	for i, n := range c.nodes {
		n.start(i == 0)
	}

	members := c.awaitVoters(first, 3)

	t.Run("rejoin", func(t *testing.T) {
		for i, n := range c.nodes {
			other := c.nodes[(i+1)%3].client()

			put(t, other, fmt.Sprintf("before-%d", i))
			n.kill()
			put(t, other, fmt.Sprintf("while-%d", i))
			n.start(false)
			c.await("rejoin of "+n.name, 30*time.Second, func(ctx context.Context) error {
				got, err := n.client().Get(ctx, fmt.Sprintf("while-%d", i))
				if err == nil && got.Count != 1 {
					return errors.New("key is not there")
				}

				return err
			})
		}

		if now := c.awaitVoters(first, 3); !maps.Equal(now, members) {
			t.Errorf("members were %v, are %v", members, now)
		}
	})

	t.Run("graceful stop", func(t *testing.T) {
		first.end(syscall.SIGTERM)
		put(t, c.nodes[1].client(), "during")
		first.start(false)
		c.awaitVoters(first, 3)
	})

	t.Run("a voter that lost its data waits", func(t *testing.T) {
		lost := c.nodes[2]
		lost.kill()

		if err := os.RemoveAll(lost.spec.Input.Settings.DataDir); err != nil {
			t.Fatal(err)
		}

		lost.log.Reset()
		lost.start(true) // a bootstrap call is refused too
		c.await("the reason", 20*time.Second, func(context.Context) error {
			if log := lost.log.String(); !strings.Contains(log, "already bootstrapped") || !strings.Contains(log, "etcd remove-member") {
				return errors.New("not said")
			}

			return nil
		})

		for id, name := range members {
			if name == lost.name {
				if _, err := first.client().MemberRemove(context.Background(), id); err != nil {
					t.Fatal(err)
				}
			}
		}

		c.awaitVoters(lost, 3)
	})
}

// Joining survives a kill after any number of milliseconds.
func TestJoinKilledAnywhere(t *testing.T) {
	t.Parallel()

	c := newCluster(t, 2)
	first, second := c.nodes[0], c.nodes[1]

	first.start(true)
	c.awaitVoters(first, 1)

	for delay := 20 * time.Millisecond; delay < 2*time.Second; delay = delay * 5 / 4 {
		second.start(false)
		time.Sleep(delay) // the moment of the kill is what is tested
		second.kill()

		// With its vote it is needed for a majority: the first member alone does not answer any more.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := first.client().MemberList(ctx)

		cancel()

		if err != nil {
			break
		}
	}

	second.start(false)
	c.awaitVoters(first, 2)
	c.awaitVoters(second, 2)
}

// A bootstrap that was accepted is carried out, killed wherever.
func TestBootstrapKilledAnywhere(t *testing.T) {
	t.Parallel()

	for _, delay := range []time.Duration{5, 15, 25, 40, 60, 90, 140, 200} {
		bootstrapKilled(t, delay*time.Millisecond, "")
	}
}

func bootstrapKilled(t *testing.T, delay time.Duration, snapshot string) *node {
	t.Helper()

	c := newCluster(t, 1)
	n := c.nodes[0]
	n.spec.Recover = snapshot

	n.start(true)
	time.Sleep(delay) // the moment of the kill is what is tested
	n.kill()

	_, err := os.Stat(filepath.Join(n.spec.Input.Settings.DataDir, "start.json"))
	accepted := err == nil

	n.start(!accepted)
	c.awaitVoters(n, 1)

	return n
}

func TestBootstrapTwice(t *testing.T) {
	t.Parallel()

	c := newCluster(t, 1)
	k := keeper.New(slog.New(slog.DiscardHandler), func(keeper.Status) {})

	if err := k.Bootstrap(t.Context()); !errors.Is(err, keeper.ErrNotReady) || !strings.Contains(err.Error(), "machine configuration") {
		t.Errorf("without a configuration: %v", err)
	}

	k.Set(c.nodes[0].spec.Input)

	if err := k.Leave(t.Context()); !errors.Is(err, keeper.ErrNoMember) {
		t.Errorf("leave before the bootstrap: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() { done <- k.Run(ctx) }()

	if err := k.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}

	c.await("ready", 20*time.Second, func(context.Context) error {
		if s := k.Status(); !s.Ready || s.Learner || s.Member == 0 {
			return fmt.Errorf("%+v", s)
		}

		return nil
	})

	if err := k.Bootstrap(t.Context()); !errors.Is(err, keeper.ErrNotEmpty) {
		t.Errorf("second bootstrap: %v", err)
	}

	if err := k.Leave(t.Context()); !errors.Is(err, keeper.ErrOnlyMember) || k.Member() == nil {
		t.Errorf("the only member leaves: %v", err)
	}

	restarts(t, c, k)
	cancel()

	if err := <-done; err != nil {
		t.Error(err)
	}

	if k.Member() != nil {
		t.Error("a member runs after the keeper ended")
	}
}

// Only settings that a start depends on restart the member.
func restarts(t *testing.T, c *cluster, k *keeper.Keeper) {
	t.Helper()

	before := k.Member()
	in := k.Input()
	in.Missing = "waiting for keys"
	k.Set(in)
	in.Missing = ""
	k.Set(in)
	put(t, k.Member().Client(), "still-here")

	if k.Member() != before {
		t.Error("restarted without need")
	}

	in.Wrong = "cluster.etcd.advertisedSubnets: no address of this node is in 10.9.0.0/24"
	k.Set(in)
	c.await("a wrong configuration is told", 20*time.Second, func(context.Context) error {
		if s := k.Status(); !s.Failed || !s.Ready || !strings.HasSuffix(s.Message, "not followed: "+in.Wrong) {
			return fmt.Errorf("%+v", s)
		}

		return nil
	})

	in.Wrong = ""
	in.Settings.ExtraArgs = map[string]string{"snapshot-count": "5000"}
	k.Set(in)
	c.await("restart", 20*time.Second, func(context.Context) error {
		if m := k.Member(); m == nil || m == before || !k.Status().Ready {
			return errors.New("not restarted")
		}

		return nil
	})
}

func put(t *testing.T, c *clientv3.Client, key string) {
	t.Helper()

	// With a member down the leader may be the one: an election takes a second.
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()

	var err error
	for ctx.Err() == nil {
		try, stop := context.WithTimeout(ctx, 3*time.Second)
		_, err = c.Put(try, key, "x")

		stop()

		if err == nil {
			return
		}
	}

	t.Fatalf("put %s: %v", key, err)
}
