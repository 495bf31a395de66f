package discoveryd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

const (
	pkg     = "./cmd/discoveryd"
	patient = 30 * time.Second
)

func configs(t *testing.T) *generate.Output {
	t.Helper()

	out, err := generate.Config(generate.Input{ClusterName: "forge", Endpoint: "https://10.5.0.2:6443", Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}

	return out
}

type node struct {
	*kittest.Daemon

	ns *kittest.NS
	st state.State
}

func start(t *testing.T, ns *kittest.NS, name string, config []byte) *node {
	t.Helper()

	daemon := kittest.Start(t, pkg, kittest.Options{Config: string(config), NS: ns, Env: []string{"DACTYL_HOSTNAME=" + name}})

	daemon.FailOnErrors(t)

	return &node{daemon, ns, daemon.State()}
}

// members prints each as "name type address,address".
func (n *node) members(t *testing.T) string {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()

	list, err := safe.StateListAll[*cluster.Member](ctx, n.st)
	if err != nil {
		return err.Error()
	}

	var lines []string

	for member := range list.All() {
		var addrs []string
		for _, addr := range member.TypedSpec().Addresses {
			addrs = append(addrs, addr.String())
		}

		lines = append(lines, fmt.Sprintf("%s %s %s", member.Metadata().ID(), member.TypedSpec().MachineType, strings.Join(addrs, ",")))
	}

	return strings.Join(lines, "\n")
}

func (n *node) await(t *testing.T, want string) {
	t.Helper()

	var got string

	defer func() {
		if t.Failed() {
			t.Logf("the members that %s knows at last:\n%s\nwanted:\n%s", n.ns.Name, got, want)
		}
	}()

	kittest.Await(t, patient, "the members", func() bool {
		got = n.members(t)

		return got == want
	})
}

func (n *node) logged(t *testing.T, times int, text string) {
	t.Helper()

	kittest.Await(t, patient, fmt.Sprintf("%q %d times in the log", text, times), func() bool { return strings.Count(n.Log(), text) >= times })
}

// rawAffiliates are the other nodes, each once, as the registry told them.
func (n *node) rawAffiliates(t *testing.T) {
	t.Helper()

	raw, err := n.st.List(t.Context(), cluster.NewAffiliate("cluster-raw", "").Metadata())
	if err != nil {
		t.Fatal(err)
	}

	merged, err := safe.StateListAll[*cluster.Affiliate](t.Context(), n.st)
	if err != nil {
		t.Fatal(err)
	}

	self, err := safe.StateGetByID[*cluster.Identity](t.Context(), n.st, cluster.LocalIdentityID)
	if err != nil {
		t.Fatal(err)
	}

	var got, want []string

	for _, r := range raw.Items {
		got = append(got, r.Metadata().ID()+" "+r.(*cluster.Affiliate).TypedSpec().Nodename)
	}

	for affiliate := range merged.All() {
		if affiliate.Metadata().ID() != self.TypedSpec().NodeID {
			want = append(want, "service/"+affiliate.Metadata().ID()+" "+affiliate.TypedSpec().Nodename)
		}
	}

	slices.Sort(got)
	slices.Sort(want)

	if len(want) != 2 || !slices.Equal(got, want) {
		t.Errorf("raw affiliates are %q, want %q", got, want)
	}
}

// watch reports the changes of members as "Updated name address,…"; those before the call are left out.
func (n *node) watch(t *testing.T) <-chan string {
	t.Helper()

	events, lines := make(chan state.Event), make(chan string, 64)
	if err := n.st.WatchKind(t.Context(), cluster.NewMember(cluster.NamespaceName, "").Metadata(), events); err != nil {
		t.Fatal(err)
	}

	go func() {
		for {
			select {
			case <-t.Context().Done():
				return
			case event := <-events:
				line := event.Type.String()
				if member, ok := event.Resource.(*cluster.Member); ok {
					line += fmt.Sprintf(" %s %v", member.Metadata().ID(), member.TypedSpec().Addresses)
				}

				lines <- line
			}
		}
	}()

	return lines
}

func expect(t *testing.T, lines <-chan string, want string) {
	t.Helper()

	select {
	case got := <-lines:
		if got != want {
			t.Errorf("the watcher saw %q, want %q", got, want)
		}
	case <-time.After(patient):
		t.Errorf("the watcher saw nothing, want %q", want)
	}
}

const three = "cp-1 controlplane 10.5.0.2\ncp-2 controlplane 10.5.0.3\nworker-1 worker 10.5.0.4"

func TestCluster(t *testing.T) {
	t.Parallel()

	lans, out := kittest.LAN(t, 3), configs(t)
	nodes := []*node{
		start(t, lans[0], "cp-1", out.ControlPlane),
		start(t, lans[1], "cp-2", out.ControlPlane),
		start(t, lans[2], "worker-1", out.Worker),
	}

	// 1. They find each other by the control plane endpoint.
	for _, n := range nodes {
		n.await(t, three)
	}

	for _, n := range nodes {
		n.rawAffiliates(t)
	}

	member, err := safe.StateGetByID[*cluster.Member](t.Context(), nodes[2].st, "cp-1")
	if err != nil || member.TypedSpec().ControlPlane == nil || member.TypedSpec().ControlPlane.APIServerPort != 6443 ||
		!strings.HasPrefix(member.TypedSpec().OperatingSystem, "Dactyl (") {
		t.Errorf("member cp-1 is %+v (%v)", member.TypedSpec(), err)
	}

	seen := nodes[0].watch(t)
	own := nodes[2].watch(t)

	// 2. kill -9 and a quick start again: nobody sees anything until something really changes.
	nodes[2].Restart()
	nodes[2].ns.Exec("ip", "addr", "add", "10.5.0.44/24", "dev", "eth0")
	expect(t, seen, "Updated worker-1 [10.5.0.4 10.5.0.44]")
	expect(t, own, "Updated worker-1 [10.5.0.4 10.5.0.44]")

	// 3. Away long enough to count as failed, but within the grace.
	nodes[2].Kill()
	nodes[0].logged(t, 1, `msg="node left or failed"`)
	nodes[2].Launch()
	nodes[2].AwaitServing()
	nodes[2].ns.Exec("ip", "addr", "del", "10.5.0.44/24", "dev", "eth0")
	expect(t, seen, "Updated worker-1 [10.5.0.4]")
	expect(t, own, "Updated worker-1 [10.5.0.4]")

	// 4. An orderly stop leaves at once, and is as invisible.
	if err := nodes[1].Stop(t.Context()); err != nil {
		t.Error(err)
	}

	nodes[0].logged(t, 2, `msg="node left or failed"`)
	nodes[1].Launch()
	nodes[1].AwaitServing()
	nodes[1].ns.Exec("ip", "addr", "add", "10.5.0.33/24", "dev", "eth0")
	expect(t, seen, "Updated cp-2 [10.5.0.3 10.5.0.33]")

	// 5. All at once, and the endpoint's node does not come back: remembered peers do.
	for _, n := range nodes {
		n.Kill()
	}

	nodes[1].Launch()
	nodes[2].Launch()
	nodes[1].AwaitServing()
	nodes[2].AwaitServing()
	nodes[1].ns.Exec("ip", "addr", "del", "10.5.0.33/24", "dev", "eth0")
	nodes[2].await(t, three)
	expect(t, own, "Updated cp-2 [10.5.0.3 10.5.0.33]")
	expect(t, own, "Updated cp-2 [10.5.0.3]")
}

// A node with another secret is neither let in nor told anything, and says what to look at.
func TestWrongSecret(t *testing.T) {
	t.Parallel()

	lans, out := kittest.LAN(t, 2), configs(t)
	good := start(t, lans[0], "cp-1", out.ControlPlane)
	bad := start(t, lans[1], "cp-2", configs(t).ControlPlane)

	bad.logged(t, 1, `msg="no other node found yet"`)
	bad.logged(t, 1, "is cluster.secret the same?")

	good.await(t, "cp-1 controlplane 10.5.0.2")
	bad.await(t, "cp-2 controlplane 10.5.0.3")

	for _, n := range []*node{good, bad} {
		if n := strings.Count(n.Log(), "level=WARN") + strings.Count(n.Log(), "level=ERROR"); n > 1 {
			t.Errorf("%d warnings", n)
		}
	}
}

func TestAlone(t *testing.T) {
	t.Parallel()

	out, err := generate.Config(generate.Input{ClusterName: "forge", Endpoint: "https://10.5.0.2:6443", Now: time.Now(), NoDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}

	n := start(t, kittest.LAN(t, 1)[0], "cp-1", out.ControlPlane)
	n.await(t, "cp-1 controlplane 10.5.0.2")

	identity, err := safe.StateGetByID[*cluster.Identity](t.Context(), n.st, cluster.LocalIdentityID)
	if err != nil {
		t.Fatal(err)
	}

	affiliate, err := safe.StateGetByID[*cluster.Affiliate](t.Context(), n.st, identity.TypedSpec().NodeID)
	if err != nil || affiliate.TypedSpec().Nodename != "cp-1" {
		t.Errorf("own affiliate: %v", err)
	}

	info, err := safe.StateGetByID[*cluster.Info](t.Context(), n.st, cluster.InfoID)
	if err != nil || info.TypedSpec().ClusterName != "forge" {
		t.Errorf("cluster info: %v", err)
	}

	discovery, err := safe.StateGetByID[*cluster.Config](t.Context(), n.st, cluster.DiscoveryConfigID)
	if err != nil || discovery.TypedSpec().DiscoveryEnabled {
		t.Errorf("discovery configuration: %v", err)
	}

	if listening := n.ns.Exec("ss", "-Hltun", "sport", "=", ":50002"); listening != "" {
		t.Errorf("discovery is off, and yet:\n%s", listening)
	}
}

// A node with more addresses than a packet takes tells them by streams, well
// before the next full exchange would.
func TestManyAddresses(t *testing.T) {
	t.Parallel()

	lans, out := kittest.LAN(t, 2), configs(t)
	first := start(t, lans[0], "cp-1", out.ControlPlane)
	second := start(t, lans[1], "worker-1", out.Worker)

	first.await(t, "cp-1 controlplane 10.5.0.2\nworker-1 worker 10.5.0.3")

	var batch strings.Builder
	for i := range 300 {
		fmt.Fprintf(&batch, "address add 10.7.%d.%d/32 dev eth0\n", i/250, i%250+1)
	}

	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	second.ns.Exec("ip", "-batch", file)

	kittest.Await(t, 10*time.Second, "301 addresses", func() bool {
		member, err := safe.StateGetByID[*cluster.Member](t.Context(), first.st, "worker-1")

		return err == nil && len(member.TypedSpec().Addresses) == 301
	})
}
