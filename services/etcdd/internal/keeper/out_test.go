package keeper_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRemoved: a member that the others took off the list settles, says so and what to do, through crashes, and joins anew
// when it is started by hand.
func TestRemoved(t *testing.T) {
	c := newCluster(t, 3)
	first, gone := c.nodes[0], c.nodes[2]

	for i, n := range c.nodes {
		n.start(i == 0)
	}

	const settled = `"this member was removed from the cluster; to join as a new one, without the data that is here, ` +
		`restart etcd by hand (service etcdd restart), or reset the node" ready=false learner=false failed=true`

	// Alive, and while it was away: it learns it from its own log, and from the others.
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("away %v", away), func(t *testing.T) {
			id := idOf(c.awaitVoters(first, 3), gone.name)

			if away {
				gone.kill()
			}

			c.await("remove", 30*time.Second, func(ctx context.Context) error {
				_, err := first.client().MemberRemove(ctx, id)

				return err
			})

			if away {
				gone.log.Reset()
				gone.start(false)
			}

			gone.awaitLog(settled, 30*time.Second)

			gone.staysOut(first, settled, "start-existing")
		})
	}
}

// TestLeft: the leader leaves (it may stop before it answers itself), stays out through a crash, and joins when it is started
// by hand.
func TestLeft(t *testing.T) {
	c := newCluster(t, 3)

	for i, n := range c.nodes {
		n.start(i == 0)
	}

	ids := c.awaitVoters(c.nodes[0], 3)
	leader := c.leader(ids)
	stays := c.nodes[0]

	if leader == stays {
		stays = c.nodes[1]
	}

	if err := leader.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}

	leader.awaitLog("msg=leave error=<nil>", 30*time.Second)
	c.awaitVoters(stays, 2)

	if _, err := os.Stat(filepath.Join(leader.spec.Input.Settings.DataDir, "member")); !os.IsNotExist(err) {
		t.Errorf("the data of a member that left is there: %v", err)
	}

	leader.staysOut(stays, "this node left the cluster; it joins again when etcd is restarted by hand", "action=add-learner")
}

// staysOut kills a member that is out: it says so again, does not act, and joins the one that is in when it is started by hand.
func (n *node) staysOut(in *node, said, action string) {
	n.c.t.Helper()

	n.kill()
	n.log.Reset()
	n.start(false)
	n.awaitLog(said, 10*time.Second)

	if log := n.log.String(); strings.Contains(log, action) {
		n.c.t.Errorf("a crash had it act:\n%s", log)
	}

	n.kill()
	n.spec.ByHand = true
	n.start(false)
	n.c.awaitVoters(in, 3)
	n.c.awaitVoters(n, 3)
	n.spec.ByHand = false
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
