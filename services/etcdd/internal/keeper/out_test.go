package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a node says that is out, and what it must not do then.
const (
	saidRemoved = `"this member was removed from the cluster; to join as a new one, without the data that is here, ` +
		`restart etcd by hand (service etcdd restart), or reset the node" ready=false learner=false failed=true`
	saidLeft = "this node left the cluster; it joins again when etcd is restarted by hand"
)

// whole is the time from the first call until three members vote again.
const whole = 30 * time.Second

// rounds of each way out: two by default, twenty with `make test-etcd`.
func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("DACTYL_ETCD_ROUNDS")); err == nil {
		return n
	}

	return 2
}

// TestOut takes members off the list in every way there is. Each settles, says so and what to do, stays out through a crash, and
// joins anew when it is started by hand.
func TestOut(t *testing.T) {
	t.Parallel()

	for _, way := range []struct {
		name string
		said string
		out  func(c *cluster) (gone, stays *node)
		// fresh: each round has a cluster of its own, which has just come up.
		fresh bool
		// learner: it goes on until a round had one that had no vote yet, which is a matter of milliseconds.
		learner bool
	}{
		{name: "leave as leader", said: saidLeft, out: leaveAsLeader},
		{name: "leave as learner", said: saidLeft, out: leaveEarly, learner: true},
		{name: "leave right after the cluster came up", said: saidLeft, out: leaveNow, fresh: true},
		{name: "remove-member of a live member", said: saidRemoved, out: removeLive},
		{name: "remove-member of a dead member", said: saidRemoved, out: removeDead},
		{name: "remove-member of a restarting member", said: saidRemoved, out: removeRestarting},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()

			var longest, sum time.Duration

			c := threeVoters(t)

			done := 0
			for ; done < rounds() || way.learner && c.learners == 0 && done < 10*rounds(); done++ {
				if way.fresh && done > 0 {
					c.end()
					c = threeVoters(t)
				}

				took := c.round(way.out, way.said, done == 0)
				longest, sum = max(longest, took), sum+took
			}

			if way.learner && c.learners == 0 {
				t.Error("it was no learner any more each time")
			}

			if longest > whole {
				t.Errorf("whole again after %s, want %s at most", longest, whole)
			}

			if c.learners > 0 {
				t.Logf("%d of them had no vote yet", c.learners)
			}

			t.Logf("%s: %d rounds, whole after %s on average, %s at most", way.name, done,
				(sum / time.Duration(done)).Round(time.Millisecond), longest.Round(time.Millisecond))
		})
	}
}

func threeVoters(t *testing.T) *cluster {
	t.Helper()

	c := newCluster(t, 3)
	for i, n := range c.nodes {
		n.start(i == 0)
	}

	c.awaitVoters(c.nodes[0], 3)

	return c
}

// round takes a member out and in again. The crash in between is not counted.
func (c *cluster) round(out func(*cluster) (gone, stays *node), said string, crash bool) time.Duration {
	c.t.Helper()

	start := time.Now()
	gone, stays := out(c)

	gone.awaitLog(said, whole)
	c.awaitVoters(stays, 2)

	if _, err := os.Stat(filepath.Join(gone.spec.Input.Settings.DataDir, "member")); said == saidLeft && !os.IsNotExist(err) {
		c.t.Errorf("the data of a member that left is there: %v", err)
	}

	gone.kill()
	took := time.Since(start)

	if crash {
		gone.log.Reset()
		gone.start(false)
		gone.awaitLog(said, 10*time.Second)

		for _, action := range []string{"action=start-existing", "action=add-learner"} {
			if log := gone.log.String(); strings.Contains(log, action) {
				c.t.Errorf("a crash had it act:\n%s", log)
			}
		}

		gone.kill()
	}

	start = time.Now()
	gone.spec.ByHand = true
	gone.log.Reset()
	gone.start(false)
	gone.spec.ByHand = false
	c.awaitVoters(stays, 3)
	c.awaitVoters(gone, 3)

	return took + time.Since(start)
}

func leaveAsLeader(c *cluster) (gone, stays *node) {
	c.t.Helper()

	gone = c.leader(c.awaitVoters(c.nodes[0], 3))
	gone.leave()

	return gone, c.other(gone)
}

func leaveNow(c *cluster) (gone, stays *node) {
	c.t.Helper()

	gone, stays = c.nodes[2], c.nodes[0]
	gone.leave()

	return gone, stays
}

// leaveEarly has the third member join anew, and leave as soon as it is there.
func leaveEarly(c *cluster) (gone, stays *node) {
	c.t.Helper()

	gone, stays = c.nodes[2], c.nodes[0]
	gone.kill()
	c.remove(gone, stays)

	if err := os.RemoveAll(gone.spec.Input.Settings.DataDir); err != nil {
		c.t.Fatal(err)
	}

	gone.log.Reset()
	gone.spec.LeaveEarly = true
	gone.start(false)
	gone.spec.LeaveEarly = false
	gone.awaitLog("msg=leave error=<nil>", whole)

	if !strings.Contains(gone.log.String(), "has a vote") {
		c.learners++
	}

	return gone, stays
}

func (c *cluster) remove(gone, stays *node) {
	c.t.Helper()

	id := idOf(c.awaitMembers(stays), gone.name)
	c.await("remove", whole, func(ctx context.Context) error {
		_, err := stays.client().MemberRemove(ctx, id)

		return err
	})
}

func removeLive(c *cluster) (gone, stays *node) {
	c.t.Helper()

	gone, stays = c.nodes[2], c.nodes[0]
	c.remove(gone, stays)

	return gone, stays
}

func removeDead(c *cluster) (gone, stays *node) {
	c.t.Helper()

	gone, stays = c.nodes[2], c.nodes[0]
	gone.kill()
	c.remove(gone, stays)
	gone.log.Reset()
	gone.start(false)

	return gone, stays
}

func removeRestarting(c *cluster) (gone, stays *node) {
	c.t.Helper()

	gone, stays = c.nodes[2], c.nodes[0]
	gone.kill()
	gone.log.Reset()
	gone.start(false)
	c.remove(gone, stays)

	return gone, stays
}

// leave asks until it has left: a member that has only just come up is refused at times.
func (n *node) leave() {
	n.c.t.Helper()
	n.c.await("leave of "+n.name, whole, func(context.Context) error {
		n.log.Reset()

		if err := n.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
			n.c.t.Fatal(err)
		}

		n.awaitLog("msg=leave", whole)

		if !strings.Contains(n.log.String(), "error=<nil>") {
			return errors.New("refused")
		}

		return nil
	})
}

func (c *cluster) other(than *node) *node {
	if than == c.nodes[0] {
		return c.nodes[1]
	}

	return c.nodes[0]
}

// awaitMembers gives the member list as it is.
func (c *cluster) awaitMembers(n *node) map[uint64]string {
	c.t.Helper()

	names := map[uint64]string{}

	c.await("members", whole, func(ctx context.Context) error {
		answer, err := n.client().MemberList(ctx)
		if err != nil {
			return err
		}

		for _, m := range answer.Members {
			names[m.ID] = m.Name
		}

		return nil
	})

	return names
}

func idOf(members map[uint64]string, name string) uint64 {
	for id, n := range members {
		if n == name {
			return id
		}
	}

	return 0
}

func (c *cluster) leader(names map[uint64]string) *node {
	c.t.Helper()

	var found *node

	c.await("a leader", 30*time.Second, func(ctx context.Context) error {
		n := c.nodes[0]

		answer, err := n.client().Status(ctx, n.spec.Input.Settings.ClientURLs[0])
		if err != nil {
			return err
		}

		for _, n := range c.nodes {
			if n.name == names[answer.Leader] {
				found = n

				return nil
			}
		}

		return fmt.Errorf("%x leads", answer.Leader)
	})

	return found
}

func (n *node) awaitLog(text string, limit time.Duration) {
	n.c.t.Helper()
	n.c.await("log of "+n.name+" says "+text, limit, func(context.Context) error {
		if !strings.Contains(n.log.String(), text) {
			return fmt.Errorf("not said")
		}

		return nil
	})
}

// TestClusterMadeAnew: a member of a cluster that is no more, so that nobody can tell it, learns from those that are where it was.
func TestClusterMadeAnew(t *testing.T) {
	t.Parallel()

	c := threeVoters(t)
	c.end()

	for i, n := range c.nodes[:2] {
		if err := os.RemoveAll(n.spec.Input.Settings.DataDir); err != nil {
			t.Fatal(err)
		}

		n.start(i == 0)
	}

	c.awaitVoters(c.nodes[0], 2)

	last := c.nodes[2]
	last.log.Reset()
	last.start(false)
	last.awaitLog(saidRemoved, whole)
	last.kill()
	last.spec.ByHand = true
	last.start(false)
	c.awaitVoters(last, 3)
}
