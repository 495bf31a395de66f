package keeper_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

const saidDamaged = "the data of this member is damaged"

// TestDamaged: data that no member can be started from is told, with what to do, by a process that lives. The node then leaves
// with the help of the others, and joins anew.
func TestDamaged(t *testing.T) {
	t.Parallel()

	c := threeVoters(t)
	hurt, stays := c.nodes[2], c.nodes[0]

	for i := range 50 {
		put(t, stays.client(), fmt.Sprintf("key-%d", i))
	}

	for _, damage := range []struct {
		name, file string
		do         func(data []byte)
	}{
		{"an entry of the log", "wal/*.wal", func(data []byte) { flip(data[2000:2008]) }},
		{"page headers of the database", "snap/db", func(data []byte) {
			for page := 2; page < 6; page++ {
				flip(data[page*4096 : page*4096+16])
			}
		}},
		{"both meta pages of the database", "snap/db", func(data []byte) { flip(data[16:64]); flip(data[4096+16 : 4096+64]) }},
	} {
		t.Run(damage.name, func(t *testing.T) {
			c.t = t
			c.awaitVoters(hurt, 3)
			hurt.kill()
			change(t, filepath.Join(hurt.spec.Input.Settings.DataDir, "member", damage.file), damage.do)
			hurt.log.Reset()
			hurt.crashing(func() bool { return strings.Contains(hurt.log.String(), saidDamaged) })
			hurt.awaitLog("(etcd rejoin)", whole)
			hurt.awaitLog("failed=true", whole)
			hurt.leave()
			c.awaitVoters(stays, 2)
			hurt.kill()
			hurt.spec.ByHand, hurt.spec.Suspect = true, false
			hurt.start(false)
			c.awaitVoters(stays, 3)
			hurt.spec.ByHand = false
		})
	}
}

// crashing starts a node again whenever it ends, as init does, until it has come to rest: five times at most.
func (n *node) crashing(rest func() bool) {
	n.c.t.Helper()

	for crashes := range 5 {
		n.spec.Suspect = crashes >= 2
		n.start(false)

		ended := n.ended()

		for limit := time.After(whole); ; {
			if rest() {
				return
			}

			select {
			case <-ended:
			case <-limit:
				n.c.t.Fatal("neither ended nor at rest")
			case <-time.After(20 * time.Millisecond):
				continue
			}

			break
		}
	}

	n.c.t.Fatal("it crashed five times: init has given up")
}

func flip(data []byte) {
	for i := range data {
		data[i] ^= 0xff
	}
}

func change(t *testing.T, pattern string, do func([]byte)) {
	t.Helper()

	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}

	data := read(t, files[0])
	do(data)

	if err = os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk: etcd ends when the disk is full. It is started again, says what it waits for, and runs when there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	kittest.RequireRoot(t)

	c := newCluster(t, 1)
	n := c.nodes[0]
	inside := n.smallDisk(t, 230)

	n.start(true)
	c.awaitVoters(n, 1)
	put(t, n.client(), "before")

	ballast := filepath.Join(inside, "ballast")
	fill(t, ballast)

	big := string(bytes.Repeat([]byte{'x'}, 1<<20))
	client := n.client()

	for ended := n.ended(); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := client.Put(ctx, "big", big)

		cancel()

		if err == nil {
			continue
		}

		select {
		case <-ended:
		case <-time.After(whole):
			t.Fatal("it does not end for want of space")
		}

		break
	}

	n.log.Reset()
	n.spec.Suspect = true
	n.start(false)
	n.awaitLog("the disk is full", whole)
	n.awaitLog("failed=true", whole)

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}

	c.awaitVoters(n, 1)

	if got, err := n.client().Get(t.Context(), "before"); err != nil || got.Count != 1 {
		t.Errorf("the data after the disk was full: %v %v", got, err)
	}
}

// smallDisk gives the node a data directory of so many MiB, in a mount namespace that the test holds, and its path from outside.
func (n *node) smallDisk(t *testing.T, mib int) string {
	t.Helper()

	dir := n.spec.Input.Settings.DataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}

	holder := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount -t tmpfs -o size=$1m tmpfs "$2" && echo mounted && exec cat`, "sh", fmt.Sprint(mib), dir)
	holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}

	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	if err = holder.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		in.Close()
		holder.Wait() //nolint:errcheck // it has nothing to say
	})

	if _, err = out.Read(make([]byte, len("mounted\n"))); err != nil {
		t.Fatal(err)
	}

	n.before = []string{"nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", holder.Process.Pid), "--"}

	return fmt.Sprintf("/proc/%d/root%s", holder.Process.Pid, dir)
}

func fill(t *testing.T, path string) {
	t.Helper()

	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	for piece := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(piece)
	}
}
