package vm

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/tools/internal/cluster"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const (
	// bootLimit is for a boot under emulation while the machine has much else to do.
	bootLimit = 4 * time.Minute
	// reserve is what is left of the suite's time when clusters are removed, lest the time-out leaves them behind.
	reserve = 45 * time.Second
)

// machines are the virtual machines of one test.
type machines struct {
	name string
	// flags are those of `cluster create`.
	flags []string
	// nodes are the control planes, then the workers.
	nodes []*node
	// ending is held while the cluster is removed: by its test, or by the signal handler.
	ending sync.Mutex
}

// node is one virtual machine; the embedded Machine knows its files on this host.
type node struct {
	*cluster.Machine
	of *machines
}

// gatewayMark stands in flags for the address that this host has on the cluster's bridge.
const gatewayMark = "@gateway@"

// start makes a cluster for a test: one control plane, unless flags of `cluster create` say otherwise. It is removed with
// the test; when that failed, the console logs stay in _out/vm.
func start(t *testing.T, flags ...string) *machines {
	t.Helper()
	m, result := create(t, flags...)
	outside.Must(t, result)

	return m
}

// create is start for tests that look at what `cluster create` says and returns; machines has no nodes where it made none.
func create(t *testing.T, flags ...string) (*machines, outside.Result) {
	t.Helper()
	name, cidr := network(t)
	m := &machines{name: name, flags: append([]string{"--cidr", cidr, "--controlplanes", "1", "--workers", "0"}, flags...)}

	made.add(m)
	t.Cleanup(func() { m.remove(t) })

	if deadline, limited := t.Deadline(); limited {
		late := time.AfterFunc(time.Until(deadline)-reserve, func() { m.keepConsoles(t); m.destroy() })
		t.Cleanup(func() { late.Stop() })
	}

	for i := range m.flags {
		m.flags[i] = strings.ReplaceAll(m.flags[i], gatewayMark, netip.MustParsePrefix(cidr).Addr().Next().String())
	}

	result := m.cluster(t.Context(), "create", m.flags...)
	m.load()

	return m, result
}

// cluster runs a command of `dactylctl cluster` on this cluster.
func (m *machines) cluster(ctx context.Context, command string, flags ...string) outside.Result {
	return outside.Dactylctl(ctx, append([]string{"cluster", command, "--provisioner", "qemu", "--name", m.name}, flags...)...)
}

func stateDir() string { return filepath.Join(os.Getenv("HOME"), ".dactyl", "clusters") }

func (m *machines) load() {
	c, err := cluster.Load(stateDir(), m.name)
	if err != nil {
		return
	}

	m.nodes = nil
	for _, machine := range c.Machines() {
		m.nodes = append(m.nodes, &node{Machine: machine, of: m})
	}
}

func (m *machines) remove(t *testing.T) {
	if t.Failed() {
		m.keepConsoles(t)
	}

	if r := m.destroy(); r.Err != nil {
		t.Errorf("%s", r)
	}

	made.remove(m)
}

func (m *machines) destroy() outside.Result {
	m.ending.Lock()
	defer m.ending.Unlock()

	return m.cluster(context.Background(), "destroy")
}

// keepConsoles copies the console logs to _out/vm and prints where they are.
func (m *machines) keepConsoles(t *testing.T) {
	for _, n := range m.nodes {
		path := outside.Repository("_out", "vm", strings.ReplaceAll(t.Name(), "/", "-")+"-"+strings.TrimPrefix(n.Name, m.name+"-")+".log")
		text, err := os.ReadFile(n.ConsolePath())

		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o755)
		}

		if err == nil {
			err = os.WriteFile(path, text, 0o644)
		}

		if err != nil {
			fmt.Printf("%s: keep console log of %s: %v\n", t.Name(), n.Name, err)
		} else {
			fmt.Printf("%s: console log of %s: %s\n", t.Name(), n.Name, path)
		}
	}
}

// network gives a test a name and a network that no other test on this machine has: an abstract socket, which the kernel
// takes away with the process, holds the number.
func network(t *testing.T) (name, cidr string) {
	t.Helper()

	taken, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}

	for i := range 250 {
		prefix := netip.MustParsePrefix(fmt.Sprintf("10.120.%d.0/24", i))
		if overlaps(prefix, taken) {
			continue // what a suite that was killed left behind
		}

		held, err := net.Listen("unix", fmt.Sprintf("@dactyl-vm-%d", i))
		if err != nil {
			continue
		}

		t.Cleanup(func() { held.Close() })

		return fmt.Sprintf("vm%d", i), prefix.String()
	}

	t.Fatal("no network left in 10.120.0.0/16")

	return "", ""
}

func overlaps(prefix netip.Prefix, addresses []net.Addr) bool {
	for _, address := range addresses {
		if have, err := netip.ParsePrefix(address.String()); err == nil && have.Overlaps(prefix) {
			return true
		}
	}

	return false
}

// registry are the clusters that are there.
type registry struct {
	mu  sync.Mutex
	all map[*machines]bool
}

// made is for the signal handler: an interrupted suite leaves nothing behind either.
var made = registry{all: map[*machines]bool{}}

func (r *registry) add(m *machines)    { r.mu.Lock(); defer r.mu.Unlock(); r.all[m] = true }
func (r *registry) remove(m *machines) { r.mu.Lock(); defer r.mu.Unlock(); delete(r.all, m) }

func destroyAll() {
	made.mu.Lock()
	defer made.mu.Unlock()

	for m := range made.all {
		m.destroy()
	}
}
