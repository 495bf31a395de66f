package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/services/kit/etcdsnapshot"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// written is below a prefix of its own, as other tests write too.
const (
	prefix  = "e2e/"
	written = 500
)

func etcdClient(t *testing.T, node string) *clientv3.Client {
	t.Helper()

	flags := etcdPKI(t, node)
	files := transport.TLSInfo{TrustedCAFile: flags[3], CertFile: flags[5], KeyFile: flags[7]}

	config, err := files.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}

	c, err := clientv3.New(clientv3.Config{Endpoints: flags[1:2], TLS: config, DialTimeout: callDeadline, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { c.Close() })

	return c
}

// writeKeys gives what is there afterwards: some keys are written twice, some removed.
func writeKeys(t *testing.T, node string) map[string]string {
	t.Helper()

	c, keys := etcdClient(t, node), map[string]string{}

	for i := range written {
		key := fmt.Sprintf("%s%d", prefix, i%(written-50))
		keys[key] = fmt.Sprintf("value %d", i)

		if _, err := c.Put(t.Context(), key, keys[key]); err != nil {
			t.Fatal(err)
		}
	}

	for i := 100; i < 110; i++ {
		key := fmt.Sprintf("%s%d", prefix, i)
		delete(keys, key)

		if _, err := c.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}

	return keys
}

// keysOf gives what a snapshot holds below the prefix.
func keysOf(t *testing.T, path string) map[string]string {
	t.Helper()

	keys := map[string]string{}

	err := etcdsnapshot.Walk(path, func(bucket, key, value []byte, _ int64) error {
		if string(bucket) != "key" || key == nil {
			return nil
		}

		entry, err := etcdsnapshot.Parse(key, value)
		if err != nil || !strings.HasPrefix(string(entry.Key), prefix) {
			return err
		}

		if keys[string(entry.Key)] = string(entry.Value); entry.Deleted {
			delete(keys, string(entry.Key))
		}

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return keys
}

// TestEtcdSnapshot: what the client stores of each member, however often, is what was written, and etcdutl takes it and tells the same of it.
func TestEtcdSnapshot(t *testing.T) {
	want := writeKeys(t, controlPlanes[0])

	for _, node := range controlPlanes {
		for range 3 {
			path := filepath.Join(t.TempDir(), "db.snapshot")
			said := ctl(t, "-e", controlPlanes[0], "-n", node, "etcd", "snapshot", path)

			theirs, err := snapshot.NewV3(zap.NewNop()).Status(path)
			if err != nil {
				t.Fatalf("etcdutl does not take the snapshot of %s: %v", node, err)
			}

			info := fmt.Sprintf("snapshot info: hash %08x, revision %d, total keys %d, total size %d\n", theirs.Hash, theirs.Revision, theirs.TotalKey, theirs.TotalSize)
			if !strings.HasSuffix(said, info) {
				t.Errorf("the client says of the snapshot of %s\n%swant\n%s", node, said, info)
			}

			if got := keysOf(t, path); !maps.Equal(got, want) {
				t.Errorf("the snapshot of %s has %d keys, want %d", node, len(got), len(want))
			}
		}
	}
}

// TestEtcdAnswersAlways: what goes through etcd's client in the process is answered by each member, each time.
func TestEtcdAnswersAlways(t *testing.T) {
	for _, command := range []string{"members", "status", "alarm list", "alarm disarm", "defrag", "forfeit-leadership"} {
		for _, node := range controlPlanes {
			for range 3 {
				ctl(t, append([]string{"-e", controlPlanes[0], "-n", node, "etcd"}, strings.Fields(command)...)...)
			}
		}
	}
}

func awaitService(t *testing.T, node, want string) {
	t.Helper()

	pattern := regexp.MustCompile(want)

	kittest.AwaitNoError(t, 2*time.Minute, func() error {
		r := outside.Dactylctl(t.Context(), "-e", node, "-n", node, "service", "etcd")
		if r.Err != nil || !pattern.MatchString(r.Stdout) {
			return fmt.Errorf("want %q: %s", want, r)
		}

		return nil
	})
}

const healthy = `(?m)^STATE +Running\nHEALTH +OK`

// TestEtcdSubnets: subnets that no address is in are told; the member runs as before.
func TestEtcdSubnets(t *testing.T) {
	node := controlPlanes[2]

	awaitService(t, node, healthy)
	// A strategic patch adds to the list, which has two subnets.
	ctl(t, "-n", node, "patch", "mc", "-p", `{"cluster":{"etcd":{"advertisedSubnets":["!`+cidr+`"]}}}`)
	awaitService(t, node, `(?ms)^STATE +Failed\nHEALTH +Fail.*cluster\.etcd\.advertisedSubnets: no address of this node is in .*, !`+regexp.QuoteMeta(cidr))
	ctl(t, "-n", node, "patch", "mc", "-p", `[{"op":"remove","path":"/cluster/etcd/advertisedSubnets/2"}]`)
	awaitService(t, node, healthy)
}

// TestEtcdPartition: a member that has lost the others is not called healthy.
func TestEtcdPartition(t *testing.T) {
	node := controlPlanes[2]
	routes := func(verb string) {
		for _, peer := range controlPlanes[:2] {
			program(t, "ip", "-n", netns(t, node), "route", verb, "blackhole", peer)
		}
	}

	awaitService(t, node, healthy)
	routes("add")
	restore := func() { routes("del") }
	defer func() { restore() }()

	awaitService(t, node, `(?ms)^STATE +Preparing\nHEALTH +\?.*the cluster has no leader`)
	restore()
	restore = func() {}
	awaitService(t, node, healthy)
}

// TestDisasterRecovery is guide 07: all members are gone, the cluster begins again with a snapshot.
func TestDisasterRecovery(t *testing.T) {
	first := controlPlanes[0]
	want := writeKeys(t, first)
	path := filepath.Join(t.TempDir(), "db.snapshot")
	info, found := strings.CutPrefix(strings.Split(ctl(t, "-n", first, "etcd", "snapshot", path), "\n")[1], "snapshot info: ")
	last, err := etcdClient(t, first).Put(t.Context(), prefix+"after", "not in the snapshot")

	if !found || err != nil {
		t.Fatal(err)
	}

	for _, node := range controlPlanes {
		loseEtcd(t, node)
	}

	for _, node := range controlPlanes {
		awaitService(t, node, `(?m)^STATE +Preparing\nHEALTH +\?\n(?s:.*)waiting for a bootstrap call`)
	}

	refusedSnapshots(t, first, path)

	said := ctl(t, "-n", first, "bootstrap", "--recover-from="+path)
	if text := fmt.Sprintf("recovering from snapshot %q: %s\n", path, info); said != text {
		t.Errorf("bootstrap says %q, want %q", said, text)
	}

	for _, node := range controlPlanes {
		awaitService(t, node, healthy)
	}

	log := ctl(t, "-n", first, "logs", "etcd")
	for _, line := range []string{"recovering etcd from snapshot: " + info, "restoring snapshot", "added member", "restored snapshot"} {
		if !strings.Contains(log, line) {
			t.Errorf("the log of etcd does not say %q:\n%s", line, log)
		}
	}

	recovered(t, want, last.Header.Revision)
}

// loseEtcd is what the guide does by a reset of EPHEMERAL: a sandbox has no disk of its own.
func loseEtcd(t *testing.T, node string) {
	t.Helper()
	ctl(t, "-n", node, "service", "etcd", "stop")

	data := fmt.Sprintf("/proc/%d/root/var/lib/etcd", awaitPID(t, netns(t, node), "init"))

	files, err := os.ReadDir(data)
	if err != nil || len(files) == 0 {
		t.Fatalf("the data of etcd: %v", err)
	}

	for _, f := range files {
		if err := os.RemoveAll(filepath.Join(data, f.Name())); err != nil {
			t.Fatal(err)
		}
	}

	ctl(t, "-n", node, "service", "etcd", "start")
}

func refusedSnapshots(t *testing.T, node, path string) {
	t.Helper()

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	flipped := append([]byte{}, data...)
	flipped[len(data)/2] ^= 1

	for want, bad := range map[string][]byte{
		"it does not end with a SHA-256: it is cut off, or a copy of the database file": data[:len(data)-1000],
		"its SHA-256 does not match: it is cut off or damaged":                          flipped,
	} {
		file := filepath.Join(t.TempDir(), "bad.snapshot")
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}

		if r := outside.Dactylctl(t.Context(), "-n", node, "bootstrap", "--recover-from", file); r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("want %q: %s", want, r)
		}
	}
}

// recovered: all three members vote, and have every key at revisions that nobody has seen.
func recovered(t *testing.T, want map[string]string, seen int64) {
	t.Helper()

	kittest.AwaitNoError(t, time.Minute, func() error {
		if members := etcdctlMembers(t, controlPlanes[0]); len(members) != len(controlPlanes) || strings.Contains(strings.Join(members, "\n"), "true") {
			return errors.New(strings.Join(members, "\n"))
		}

		return nil
	})

	for _, node := range controlPlanes {
		ctx, cancel := context.WithTimeout(t.Context(), callDeadline)
		got, err := etcdClient(t, node).Get(ctx, prefix, clientv3.WithPrefix())

		cancel()

		if err != nil {
			t.Fatal(err)
		}

		keys := map[string]string{}
		for _, kv := range got.Kvs {
			keys[string(kv.Key)] = string(kv.Value)
		}

		if !maps.Equal(keys, want) || got.Header.Revision <= seen {
			t.Errorf("%s has %d keys at revision %d, want %d behind %d", node, len(keys), got.Header.Revision, len(want), seen)
		}
	}
}
