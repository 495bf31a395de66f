package networkd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// server is Debian's dnsmasq as DHCP server in a namespace of its own, at the other end of eth0.
type server struct {
	t    *testing.T
	ns   *kittest.NS
	cmd  *exec.Cmd
	dir  string
	args []string
}

// dhcpServer starts one; the node's namespace gets eth0.
func dhcpServer(t *testing.T, node *kittest.NS, args ...string) *server {
	t.Helper()

	if _, err := exec.LookPath("dnsmasq"); err != nil {
		t.Fatal("dnsmasq is missing: make prepare installs it")
	}

	s := &server{t: t, ns: kittest.NetNS(t), dir: t.TempDir(), args: args}
	s.ns.Exec("ip", "link", "add", "lan", "type", "veth", "peer", "name", "eth0", "netns", node.Name)
	s.ns.Exec("ip", "addr", "add", "10.9.0.1/24", "dev", "lan")
	s.ns.Exec("ip", "link", "set", "lan", "up")
	node.Exec("ip", "link", "set", "eth0", "address", "02:00:00:00:00:09")
	s.start()
	t.Cleanup(s.stop)

	return s
}

func (s *server) start() {
	s.t.Helper()

	args := append([]string{
		"netns", "exec", s.ns.Name, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=lan", "--bind-interfaces",
		"--user=root", "--log-facility=" + s.log(), "--log-dhcp", "--dhcp-authoritative", "--no-ping", "--pid-file",
		"--dhcp-leasefile=" + filepath.Join(s.dir, "leases"),
	}, s.args...)

	s.cmd = exec.Command("ip", args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) log() string { return filepath.Join(s.dir, "log") }

// count tells how often the server wrote a word.
func (s *server) count(word string) int {
	data, _ := os.ReadFile(s.log())

	return strings.Count(string(data), word+"(lan)")
}

const leased = `eth0@if2         UP             10.9.0.77/24 
default via 10.9.0.1 dev eth0 proto static metric 1024 
10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.77 
172.31.0.0/16 via 10.9.0.3 dev eth0 proto static metric 1024 
lo               UNKNOWN        127.0.0.1/8 
`

var offer = []string{
	"--dhcp-range=10.9.0.50,10.9.0.99,2m", "--dhcp-host=02:00:00:00:00:09,10.9.0.77,leased", "--domain=example.org",
	"--dhcp-option=option:dns-server,10.9.0.53", "--dhcp-option=option:ntp-server,10.9.0.123",
	"--dhcp-option=option:classless-static-route,0.0.0.0/0,10.9.0.1,172.31.0.0/16,10.9.0.3",
}

func awaitState(t *testing.T, ns *kittest.NS, want string) {
	t.Helper()

	kittest.AwaitNoError(t, 15*time.Second, func() error {
		// The index of the other end differs from run to run.
		if got := trimIndex(state(ns)); got != want {
			return fmt.Errorf("got\n%s\nwant\n%s", got, want)
		}

		return nil
	})
}

func trimIndex(text string) string {
	first, rest, _ := strings.Cut(text, "\n")

	if fields := strings.Fields(first); len(fields) > 1 {
		first = fmt.Sprintf("%-16s %-14s %s ", "eth0@if2", fields[1], strings.Join(fields[2:], " "))
	}

	return first + "\n" + rest
}

// maintenance is a node without configuration that is told to ask by its kernel command line.
func maintenance(t *testing.T, ns *kittest.NS) *kittest.Daemon {
	t.Helper()

	return fromCmdline(t, ns, "talos.platform=metal ip=eth0:dhcp")
}

func fromCmdline(t *testing.T, ns *kittest.NS, line string) *kittest.Daemon {
	t.Helper()

	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(filepath.Join(root, "proc/cmdline"), []byte(line+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	return kittest.Start(t, "./cmd/networkd", kittest.Options{NS: ns, Root: root, Config: "version: v1alpha1\nmachine: {}\n"})
}

// TestLease: address, routes, resolvers, time servers and name come from the server, and a killed networkd goes on with
// them without a word to the kernel or to the server.
func TestLease(t *testing.T) {
	ns := kittest.NetNS(t)
	s := dhcpServer(t, ns, offer...)
	d := maintenance(t, ns)

	awaitState(t, ns, leased)

	st := stateOf(d)

	for want, give := range map[string]func() string{
		"10.9.0.53":          func() string { return get[*network.ResolverStatus](t, st, "resolvers") },
		"10.9.0.123":         func() string { return get[*network.TimeServerStatus](t, st, "timeservers") },
		"hostname: leased":   func() string { return get[*network.HostnameStatus](t, st, "hostname") },
		"layer: operator":    func() string { return get[*network.AddressSpec](t, st, "eth0/10.9.0.77/24") },
		"operator: dhcp4":    func() string { return get[*network.OperatorSpec](t, st, "dhcp4/eth0") },
		"addressReady: true": func() string { return get[*network.Status](t, st, "status") },
	} {
		kittest.AwaitNoError(t, 5*time.Second, func() error {
			if got := give(); !strings.Contains(got, want) {
				return fmt.Errorf("%q is not in\n%s", want, got)
			}

			return nil
		})
	}

	requests := s.count("DHCPREQUEST")
	monitor := watch2(t, ns)

	for range 2 {
		if err := os.Remove(filepath.Join(d.Root, "etc/resolv.conf")); err != nil {
			t.Fatal(err)
		}

		d.Restart()
		kittest.Await(t, 5*time.Second, "the restarted daemon has been through its loop", func() bool {
			data, err := os.ReadFile(filepath.Join(d.Root, "etc/resolv.conf"))

			return err == nil && strings.Contains(string(data), "10.9.0.53")
		})
	}

	// Before the monitor is asked: what marks its end is an address too.
	after := trimIndex(state(ns))

	for _, line := range monitor() {
		t.Errorf("a restart changed the kernel: %s", line)
	}

	if now := s.count("DHCPREQUEST"); now != requests {
		t.Errorf("the restarted daemon asked the server %d times", now-requests)
	}

	if after != leased {
		t.Errorf("after the restarts\n%s", after)
	}
}

// watch2 gives what `ip monitor` says of IPv4 until it is asked.
func watch2(t *testing.T, ns *kittest.NS) func() []string {
	t.Helper()

	ns.Exec("ip", "link", "add", "peer0", "type", "veth", "peer", "name", "peer1")

	m := watch(t, ns)

	return func() []string {
		ns.Exec("ip", "addr", "add", "192.0.2.77/32", "dev", "lo")
		kittest.Await(t, 5*time.Second, "the monitor is up to date", func() bool {
			return strings.Contains(strings.Join(m.said(), "\n"), "192.0.2.77")
		})

		var other []string

		for _, line := range m.said() {
			if !strings.Contains(line, "peer") && !strings.Contains(line, "192.0.2.77") && !strings.Contains(line, "fe80:") {
				other = append(other, line)
			}
		}

		return other
	}
}

// TestRenewRebindLose: renewed at T1 by unicast; with the server away the address stays until another answers; a server
// that hands out other addresses takes the old one away.
func TestRenewRebindLose(t *testing.T) {
	ns := kittest.NetNS(t)
	quick := append([]string{"--dhcp-option-force=option:T1,2", "--dhcp-option-force=option:T2,9"}, offer...)
	s := dhcpServer(t, ns, quick...)

	maintenance(t, ns)
	awaitState(t, ns, leased)

	kittest.Await(t, 15*time.Second, "renewed", func() bool { return s.count("DHCPACK") > 1 })

	s.stop()
	s.args = append([]string{"--dhcp-host=02:00:00:00:00:09,10.9.0.88"}, "--dhcp-range=10.9.0.50,10.9.0.99,2m")
	_ = os.Remove(filepath.Join(s.dir, "leases"))
	s.start()

	// Its NAK ends the lease.
	awaitState(t, ns, strings.NewReplacer(
		"10.9.0.77", "10.9.0.88", "172.31.0.0/16 via 10.9.0.3 dev eth0 proto static metric 1024 \n", "",
	).Replace(leased))
}

// TestLeaseIsCheckedWhenTheCarrierReturns: the cable may be in another network now, and half of the lease is a minute away.
func TestLeaseIsCheckedWhenTheCarrierReturns(t *testing.T) {
	ns := kittest.NetNS(t)
	s := dhcpServer(t, ns, offer...)

	maintenance(t, ns)
	awaitState(t, ns, leased)

	s.stop()
	s.args = append([]string{"--dhcp-host=02:00:00:00:00:09,10.9.0.88"}, "--dhcp-range=10.9.0.50,10.9.0.99,2m")
	_ = os.Remove(filepath.Join(s.dir, "leases"))
	s.start()

	s.ns.Exec("ip", "link", "set", "lan", "down")
	s.ns.Exec("ip", "link", "set", "lan", "up")
	awaitState(t, ns, strings.NewReplacer(
		"10.9.0.77", "10.9.0.88", "172.31.0.0/16 via 10.9.0.3 dev eth0 proto static metric 1024 \n", "",
	).Replace(leased))
}

// TestConfiguredDHCP: dhcp and its metric from the configuration; with the setting gone the address goes.
func TestConfiguredDHCP(t *testing.T) {
	ns := kittest.NetNS(t)
	dhcpServer(t, ns, offer...)

	_, write := follow(t, ns)
	const text = "version: v1alpha1\nmachine:\n  network:\n    hostname: mine\n    interfaces:\n      - interface: eth0\n"

	write(text + "        dhcp: true\n        dhcpOptions:\n          routeMetric: 512\n")
	awaitState(t, ns, strings.ReplaceAll(leased, "metric 1024", "metric 512"))

	write(text + "        addresses: [10.9.0.5/24]\n")
	awaitState(t, ns, "eth0@if2         UP             10.9.0.5/24 \n10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.5 \nlo               UNKNOWN        127.0.0.1/8 \n")
}

// TestGatewayBeyondThePrefix of ip=, as hosters with /32 addresses have it.
func TestGatewayBeyondThePrefix(t *testing.T) {
	ns := kittest.NetNS(t)
	ns.Exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "lan", "netns", kittest.NetNS(t).Name)
	fromCmdline(t, ns, "talos.platform=metal ip=192.168.77.9::192.168.0.2:255.255.255.255::eth0:off")

	kittest.AwaitNoError(t, 15*time.Second, func() error {
		if got := ns.Exec("ip", "route"); !strings.Contains(got, "default via 192.168.0.2 dev eth0") || !strings.Contains(got, "192.168.0.2 dev eth0 proto static scope link") {
			return fmt.Errorf("got\n%s", got)
		}

		return nil
	})
}
