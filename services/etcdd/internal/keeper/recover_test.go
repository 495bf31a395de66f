package keeper_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/keeper"
	"github.com/dactyl-os/dactyl/services/kit/etcdsnapshot"
)

const keys = 300

// takeSnapshot gives a snapshot of a cluster with some keys, overwritten and removed ones among them, and the raw database.
func takeSnapshot(t *testing.T) (withHash, raw string) {
	t.Helper()

	c := newCluster(t, 1)
	n := c.nodes[0]
	n.start(true)
	c.awaitVoters(n, 1)

	client := n.client()
	for i := range keys {
		if _, err := client.Put(t.Context(), fmt.Sprintf("key-%d", i), fmt.Sprintf("value-%d", i)); err != nil {
			t.Fatal(err)
		}
	}

	put(t, client, "key-0")
	put(t, client, "gone")

	if _, err := client.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}

	stream, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()

	data, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}

	withHash = filepath.Join(t.TempDir(), "db.snapshot")
	if err = os.WriteFile(withHash, data, 0o600); err != nil {
		t.Fatal(err)
	}

	n.kill()

	return withHash, filepath.Join(n.spec.Input.Settings.DataDir, "member", "snap", "db")
}

// A recovery that was accepted is carried out, killed wherever; one that was not can be asked for again. All keys are there, and
// the revision is far behind every one that a watcher may have seen.
func TestRecoverKilledAnywhere(t *testing.T) {
	t.Parallel()

	from, _ := takeSnapshot(t)

	for _, delay := range []time.Duration{5, 20, 40, 60, 90, 140, 200, 400} {
		n := bootstrapKilled(t, delay*time.Millisecond, from)

		got, err := n.client().Get(t.Context(), "key-", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
		if err != nil {
			t.Fatal(err)
		}

		if got.Count != keys || got.Header.Revision < 1_000_000_000 || string(got.Kvs[0].Value) != "x" {
			t.Errorf("killed after %d ms: %d keys at revision %d", delay, got.Count, got.Header.Revision)
		}

		for _, name := range []string{"start.json", "recover.snapshot", "recover.snapshot.part", "restore"} {
			n.c.await(name+" is removed", 10*time.Second, func(context.Context) error {
				if _, err := os.Stat(filepath.Join(n.spec.Input.Settings.DataDir, name)); !os.IsNotExist(err) {
					return fmt.Errorf("it is there: %w", err)
				}

				return nil
			})
		}

		n.kill()
	}
}

// What a snapshot holds is told as etcd's own tool tells it.
func TestSnapshotInfo(t *testing.T) {
	t.Parallel()

	path, _ := takeSnapshot(t)

	theirs, err := snapshot.NewV3(zap.NewNop()).Status(path)
	if err != nil {
		t.Fatal(err)
	}

	ours, err := etcdsnapshot.Read(path, false)
	if err != nil {
		t.Fatal(err)
	}

	want := etcdsnapshot.Info{Hash: theirs.Hash, Revision: theirs.Revision, Keys: theirs.TotalKey, Size: theirs.TotalSize}
	if ours != want || ours.Keys != keys {
		t.Errorf("ours %s, etcdutl's %s, of %d keys", ours, want, keys)
	}
}

// Snapshots that cannot be used are refused with the reason, before anything of them is.
func TestRecoverRefuses(t *testing.T) {
	t.Parallel()

	path, rawPath := takeSnapshot(t)
	whole, raw := read(t, path), read(t, rawPath)

	c := newCluster(t, 1)
	k := keeper.New(slog.New(slog.DiscardHandler), func(keeper.Status) {})
	k.Set(c.nodes[0].spec.Input)

	recover := func(data []byte, skipHash bool) string {
		t.Helper()

		if data != nil {
			if err := k.Upload(t.Context(), func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
				t.Fatal(err)
			}
		}

		_, err := k.Recover(t.Context(), skipHash)
		if err == nil {
			return "accepted"
		}

		return err.Error()
	}

	const (
		noHash  = "snapshot: it does not end with a SHA-256: it is cut off, or a copy of the database file (for such a copy: --recover-skip-hash-check)"
		hash    = "snapshot: its SHA-256 does not match: it is cut off or damaged, take another snapshot"
		damaged = "snapshot: its database is damaged"
	)

	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 0x10

	for _, step := range []struct {
		name string
		data []byte
		skip bool
		want string
	}{
		{"nothing uploaded", nil, false, "no snapshot was uploaded to this node (bootstrap --recover-from=FILE uploads one)"},
		{"empty", []byte{}, false, noHash},
		{"cut off", whole[:len(whole)-100], false, noHash},
		{"cut off by whole pages", whole[:len(whole)-4096], false, hash},
		{"a bit flipped", flipped, false, hash},
		{"a copy of the database", raw, false, noHash},
		{"a copy of the database, cut off", raw[:8*4096], true, damaged},
		{"no database", []byte(strings.Repeat("hello", 4096)), true, damaged},
		{"empty, unchecked", []byte{}, true, damaged},
	} {
		if got := recover(step.data, step.skip); got != step.want && !strings.HasPrefix(got, step.want+" (") {
			t.Errorf("%s: %s\nwant %s", step.name, got, step.want)
		}
	}

	broken := errors.New("the client went away")
	if err := k.Upload(t.Context(), func(w io.Writer) error { return errors.Join(second(w.Write(whole[:9999])), broken) }); !errors.Is(err, broken) {
		t.Errorf("an upload that breaks off: %v", err)
	}

	// Wherever a bit of a copy is flipped, it is refused or read to its end; nothing panics.
	for at := 0; at < len(raw); at += len(raw)/200 + 1 {
		data := bytes.Clone(raw)
		for i := range 8 {
			data[(at+i)%len(data)] ^= 0xff
		}

		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}

		if _, err := etcdsnapshot.Read(path, true); err != nil && !errors.Is(err, etcdsnapshot.ErrDamaged) {
			t.Errorf("flipped at %d: %v", at, err)
		}
	}

	if got := recover(raw, true); got != "accepted" {
		t.Errorf("a copy of the database, unchecked: %s", got)
	}

	if err := k.Bootstrap(t.Context()); !errors.Is(err, keeper.ErrRecovering) {
		t.Errorf("a bootstrap without the snapshot while it is being recovered: %v", err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	return data
}

func second[T any](_ T, err error) error { return err }
