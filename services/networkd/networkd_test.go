package networkd_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/meta"
	cosistate "github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"
	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	types "github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

func TestMain(m *testing.M) {
	if err := types.Register(); err != nil {
		panic(err)
	}

	os.Exit(m.Run())
}

// TestReadmeAlone runs the README's lines as they are written, from the repository's root.
func TestReadmeAlone(t *testing.T) {
	kittest.RequireRoot(t)

	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}

	var script strings.Builder

	script.WriteString("set -eu\n")

	for i, block := range strings.Split(string(readme), "```sh\n")[1:] {
		code, _, ok := strings.Cut(block, "\n```")
		if !ok {
			t.Fatalf("block %d of README.md does not end", i)
		}

		fmt.Fprintf(&script, "%s\necho '--- block %d'\n", code, i)
	}

	t.Cleanup(func() {
		// Only what a failed run left.
		if exec.Command("ip", "netns", "pids", "networkd-alone").Run() == nil {
			_ = exec.Command("ip", "netns", "del", "networkd-alone").Run()
		}
	})

	cmd := exec.CommandContext(t.Context(), "sh", "-c", script.String())
	cmd.Dir = "../.."

	var stderr strings.Builder

	cmd.Stderr = &stderr

	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
	}

	blocks := strings.Split(string(out), "--- block")
	if len(blocks) != 4 {
		t.Fatalf("%d blocks in\n%s", len(blocks), out)
	}

	_, seen, _ := strings.Cut(blocks[1], "\n")
	kittest.Golden(t, "alone.txt", []byte(trimLines(seen)))
}

// trimLines takes off what `ip` pads its lines with.
func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}

	return strings.Join(lines, "\n")
}

const machineConfig = `version: v1alpha1
machine:
  network:
    hostname: node-1
    interfaces:
      - interface: eth0
        mtu: 1400
        addresses:
          - 10.5.0.2/24
          - 10.5.0.102/24
        routes:
          - network: 0.0.0.0/0
            gateway: 10.5.0.1
      - interface: eth1
        ignore: true
`

func namespace(t *testing.T) *kittest.NS {
	t.Helper()

	ns := kittest.NetNS(t)
	ns.Exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
	ns.Exec("ip", "link", "set", "peer0", "up")

	return ns
}

// state is what `ip` shows of the namespace without what time changes.
func state(ns *kittest.NS) string {
	return ns.Exec("ip", "-brief", "-4", "addr", "show", "dev", "eth0") + ns.Exec("ip", "route") +
		ns.Exec("ip", "-brief", "-4", "addr", "show", "dev", "lo")
}

// ipMonitor collects what `ip monitor` says about the namespace while a test goes on.
type ipMonitor struct {
	mu    sync.Mutex
	lines []string
}

func watch(t *testing.T, ns *kittest.NS) *ipMonitor {
	t.Helper()

	cmd := exec.Command("ip", "-o", "-n", ns.Name, "monitor", "link", "address", "route")

	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	m, done := &ipMonitor{}, make(chan struct{})

	go func() {
		defer close(done)

		for s := bufio.NewScanner(out); s.Scan(); {
			m.mu.Lock()
			m.lines = append(m.lines, s.Text())
			m.mu.Unlock()
		}
	}()

	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})

	// It listens when it tells of a change made for that.
	kittest.Await(t, 5*time.Second, "ip monitor listens", func() bool {
		ns.Exec("ip", "link", "set", "peer0", "alias", fmt.Sprint(time.Now().UnixNano()))

		return len(m.said()) > 0
	})

	return m
}

func (m *ipMonitor) said() []string {
	m.mu.Lock()
	defer m.mu.Unlock()

	return slices.Clone(m.lines)
}

// TestKilledAndRestarted: with kill -9 nothing leaves the kernel and nothing is done twice.
func TestKilledAndRestarted(t *testing.T) {
	ns := namespace(t)
	ns.Exec("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")

	d := kittest.Start(t, "./cmd/networkd", kittest.Options{NS: ns, Config: machineConfig})

	const want = `10.5.0.102/24`

	kittest.Await(t, 5*time.Second, "configured", func() bool {
		s := state(ns)

		return strings.Contains(s, want) && strings.Contains(s, "default")
	})

	before := state(ns)
	monitor := watch(t, ns)

	for range 3 {
		if err := os.Remove(filepath.Join(d.Root, "etc/resolv.conf")); err != nil {
			t.Fatal(err)
		}

		d.Restart()
		kittest.Await(t, 5*time.Second, "the restarted daemon has been through its loop", func() bool {
			_, err := os.Stat(filepath.Join(d.Root, "etc/resolv.conf"))

			return err == nil
		})
	}

	// The monitor is behind by nothing when it shows a change made after the last restart.
	ns.Exec("ip", "addr", "add", "192.0.2.77/32", "dev", "lo")
	kittest.Await(t, 5*time.Second, "the monitor is up to date", func() bool {
		return slices.ContainsFunc(monitor.said(), func(l string) bool { return strings.Contains(l, "192.0.2.77") })
	})

	for _, line := range monitor.said() {
		// The test's own changes, and the kernel that has finished looking for duplicates of its link-local address.
		own := strings.Contains(line, "peer0") || strings.Contains(line, "192.0.2.77") || strings.Contains(line, "fe80:")
		if !own {
			t.Errorf("a restart changed the kernel: %s", line)
		}
	}

	ns.Exec("ip", "addr", "del", "192.0.2.77/32", "dev", "lo")

	if after := state(ns); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}

	// Another hand: put back.
	ns.Exec("ip", "addr", "del", "10.5.0.102/24", "dev", "eth0")
	kittest.Await(t, 5*time.Second, "address is put back", func() bool { return strings.Contains(state(ns), want) })
}

// follow starts a daemon whose configuration file the test changes.
func follow(t *testing.T, ns *kittest.NS) (d *kittest.Daemon, write func(string)) {
	t.Helper()

	file := filepath.Join(t.TempDir(), "config.yaml")
	write = func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	write(machineConfig)

	return kittest.Start(t, "./cmd/networkd", kittest.Options{NS: ns, Args: []string{"--config", file}}), write
}

// TestConfigurationChanges: the new configuration's addresses come, the old one's go, also when another process of
// networkd put them there; what is foreign stays.
func TestConfigurationChanges(t *testing.T) {
	ns := namespace(t)
	ns.Exec("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")

	d, write := follow(t, ns)
	kittest.Await(t, 5*time.Second, "configured", func() bool { return strings.Contains(state(ns), "default") })

	d.Kill()
	write(strings.NewReplacer(
		"10.5.0.2/24", "10.6.0.2/24", "10.5.0.102/24", "fd00::2/64", "gateway: 10.5.0.1", "gateway: 10.6.0.1", "mtu: 1400", "mtu: 0",
	).Replace(machineConfig))
	d.Restart()

	const want = `eth0@peer0       UP             192.0.2.1/24 10.6.0.2/24 
default via 10.6.0.1 dev eth0 proto static metric 1024 
10.6.0.0/24 dev eth0 proto kernel scope link src 10.6.0.2 
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1 
lo               UNKNOWN        127.0.0.1/8 
`

	kittest.AwaitNoError(t, 5*time.Second, func() error {
		if got := state(ns); got != want {
			return fmt.Errorf("got\n%s\nwant\n%s", got, want)
		}

		return nil
	})

	if links := ns.Exec("ip", "-o", "link", "show", "dev", "eth0"); !strings.Contains(links, "mtu 1500") {
		t.Errorf("the link's own MTU is not back: %s", links)
	}
}

// TestResources: what `get` shows agrees with `ip`, by the contract's IDs.
func TestResources(t *testing.T) {
	ns := namespace(t)
	ns.Exec("ip", "link", "set", "eth0", "address", "02:00:00:00:00:01")

	d, write := follow(t, ns)
	write(machineConfig + "      - interface: eth2\n        dhcp: true\n        addresses: [10.8.0.1/24]\n")

	st := stateOf(d)

	for id, check := range map[string]func() (string, string){
		"AddressStatus": func() (string, string) { return get[*network.AddressStatus](t, st, "eth0/10.5.0.2/24"), "permanent" },
		"RouteStatus": func() (string, string) {
			return get[*network.RouteStatus](t, st, "inet4/10.5.0.1//1024"), "protocol: static"
		},
		"LinkStatus":      func() (string, string) { return get[*network.LinkStatus](t, st, "eth0"), "kind: veth" },
		"HardwareAddress": func() (string, string) { return get[*network.HardwareAddr](t, st, "first"), "02:00:00:00:00:01" },
		"HostnameStatus":  func() (string, string) { return get[*network.HostnameStatus](t, st, "hostname"), "hostname: node-1" },
		"ResolverStatus":  func() (string, string) { return get[*network.ResolverStatus](t, st, "resolvers"), "1.1.1.1" },
		"TimeServers": func() (string, string) {
			return get[*network.TimeServerStatus](t, st, "timeservers"), "time.cloudflare.com"
		},
		"default": func() (string, string) { return get[*network.NodeAddress](t, st, "default"), "- 10.5.0.2/24" },
		"current": func() (string, string) { return get[*network.NodeAddress](t, st, "current"), "- 10.5.0.102/24" },
		"merged": func() (string, string) {
			return get[*network.AddressSpec](t, st, "eth0/10.5.0.2/24"), "layer: configuration"
		},
		"status": func() (string, string) { return get[*network.Status](t, st, "status"), "connectivityReady: true" },
	} {
		kittest.AwaitNoError(t, 5*time.Second, func() error {
			if got, want := check(); !strings.Contains(got, want) {
				return fmt.Errorf("%s: %q is not in\n%s", id, want, got)
			}

			return nil
		})
	}

	layered, err := st.Get(t.Context(), network.NewRouteSpec(network.ConfigNamespaceName, "configuration/inet4/10.5.0.1//1024").Metadata())
	if err != nil {
		t.Fatal(layered, err)
	}

	kittest.AwaitNoError(t, 5*time.Second, func() error {
		const want = "link eth2 is not there yet"

		res, err := st.Get(t.Context(), network.NewStatus(network.NamespaceName, network.StatusID).Metadata())
		if err != nil {
			return err
		}

		if got, _ := res.Metadata().Annotations().Get("dactyl.dev/diagnostics"); got != want {
			return fmt.Errorf("diagnostics %q, want %q", got, want)
		}

		return nil
	})

	// eth2 comes and gets what it waits for; eth1 is ignored.
	ns.Exec("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth2")
	kittest.Await(t, 5*time.Second, "eth2 has its address", func() bool {
		return strings.Contains(ns.Exec("ip", "-o", "addr", "show", "dev", "eth2"), "10.8.0.1/24")
	})

	if link := ns.Exec("ip", "-o", "link", "show", "dev", "eth1"); strings.Contains(link, ",UP") {
		t.Errorf("an ignored link was brought up: %s", link)
	}
}

func stateOf(d *kittest.Daemon) cosistate.State {
	return cosistate.WrapCore(client.NewAdapter(v1alpha1.NewStateClient(d.Conn())))
}

// get gives a resource's spec as YAML; "" when it is not there.
func get[R meta.ResourceWithRD](t *testing.T, st cosistate.State, id resource.ID) string {
	t.Helper()

	var zero R

	rd := zero.ResourceDefinition()

	res, err := st.Get(t.Context(), resource.NewMetadata(rd.DefaultNamespace, rd.Type, id, resource.VersionUndefined))
	if err != nil {
		return err.Error()
	}

	text, err := yaml.Marshal(res.Spec())
	if err != nil {
		t.Fatal(err)
	}

	return string(text)
}

func TestMethods(t *testing.T) {
	ns := namespace(t)
	d := kittest.Start(t, "./cmd/networkd", kittest.Options{NS: ns, Config: machineConfig})
	api := machine.NewMachineServiceClient(d.Conn())

	kittest.Await(t, 5*time.Second, "configured", func() bool { return strings.Contains(state(ns), "default") })
	ns.Run(func() { send(t, "127.0.0.1:9", 3) })

	stats, err := api.NetworkDeviceStats(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}

	var names []string
	for _, dev := range stats.Messages[0].Devices {
		names = append(names, dev.Name)

		if dev.Name == "lo" && dev.RxPackets < 3 {
			t.Errorf("lo received %d packets, want at least 3", dev.RxPackets)
		}
	}

	if slices.Sort(names); !slices.Equal(names, []string{"eth0", "lo", "peer0"}) {
		t.Errorf("links %v", names)
	}
}

func send(t *testing.T, to string, packets int) {
	conn, err := net.Dial("udp", to)
	if err != nil {
		t.Error(err)

		return
	}
	defer conn.Close()

	for range packets {
		_, _ = conn.Write([]byte("hello")) // an ICMP error of the one before may come back
	}
}

// TestWithoutConfigd: the kernel command line is enough to bring the network up, whether configd is not there or there and
// silent.
func TestWithoutConfigd(t *testing.T) {
	for name, silent := range map[string]bool{"absent": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			ns, run, root := namespace(t), t.TempDir(), t.TempDir()

			if silent {
				l, err := net.Listen("unix", filepath.Join(run, "configd.sock"))
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
			}

			if err := os.Mkdir(filepath.Join(root, "proc"), 0o755); err != nil {
				t.Fatal(err)
			}

			line := []byte("talos.platform=container ip=10.5.0.2::10.5.0.1:255.255.255.0:node-2:eth0:off\n")
			if err := os.WriteFile(filepath.Join(root, "proc/cmdline"), line, 0o644); err != nil {
				t.Fatal(err)
			}

			d := kittest.Start(t, "./cmd/networkd", kittest.Options{NS: ns, RunDir: run, Root: root})
			kittest.Await(t, 10*time.Second, "configured", func() bool { return strings.Contains(state(ns), "default via 10.5.0.1") })
			kittest.Await(t, 10*time.Second, "named", func() bool {
				return strings.Contains(get[*network.HostnameStatus](t, stateOf(d), "hostname"), "node-2")
			})
		})
	}
}

// TestKilledWhileApplying: killed at any moment between two configurations of fifty addresses each, a later daemon leaves
// exactly what the last one asks for: nothing is forgotten, nothing foreign is touched.
func TestKilledWhileApplying(t *testing.T) {
	ns := namespace(t)
	ns.Exec("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")

	configs := [2]string{}
	wants := [2][]string{{"192.0.2.1/24"}, {"192.0.2.1/24"}}

	for i := range configs {
		var text strings.Builder

		text.WriteString("version: v1alpha1\nmachine:\n  network:\n    interfaces:\n      - interface: eth0\n        addresses:\n")

		for n := range 50 {
			address := fmt.Sprintf("10.%d.%d.1/24", 7+i, n)
			fmt.Fprintf(&text, "          - %s\n", address)
			wants[i] = append(wants[i], address)
		}

		configs[i] = text.String()
		slices.Sort(wants[i])
	}

	d, write := follow(t, ns)

	for i := range 12 {
		d.Kill()
		write(configs[i%2])
		d.Restart()
		time.Sleep(rand.N(8 * time.Millisecond)) // the moment of the crash, not a wait
	}

	d.Restart()

	for i, last := range []int{1, 0} {
		if i > 0 {
			write(configs[last])
		}

		kittest.AwaitNoError(t, 10*time.Second, func() error {
			var got []string

			for _, field := range strings.Fields(ns.Exec("ip", "-brief", "-4", "addr", "show", "dev", "eth0")) {
				if strings.Contains(field, "/") {
					got = append(got, field)
				}
			}

			if slices.Sort(got); !slices.Equal(got, wants[last]) {
				return fmt.Errorf("%d addresses, want %d:\n%v", len(got), len(wants[last]), got)
			}

			return nil
		})
	}
}
