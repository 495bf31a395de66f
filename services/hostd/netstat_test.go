package hostd_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestNetstat: real sockets of a namespace: what waits, what is connected, what nobody holds any more; with their program.
func TestNetstat(t *testing.T) {
	ns := kittest.NetNS(t)
	root := t.TempDir()

	if err := os.Mkdir(filepath.Join(root, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{"self", "stat", "meminfo", strconv.Itoa(os.Getpid())} {
		if err := os.Symlink("/proc/"+name, filepath.Join(root, "proc", name)); err != nil {
			t.Fatal(err)
		}
	}

	if err := os.Symlink("/proc/self/net", filepath.Join(root, "proc", "net")); err != nil {
		t.Fatal(err)
	}

	var server, udp string

	ns.Run(func() { server, udp = sockets(t) })

	d := kittest.Start(t, "github.com/dactyl-os/dactyl/services/hostd/cmd/hostd", kittest.Options{NS: ns, Root: root, Config: machineConfig})
	api := machine.NewMachineServiceClient(d.Conn())
	ask := func(req *machine.NetstatRequest) map[string][]*machine.ConnectRecord {
		t.Helper()

		answer, err := api.Netstat(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}

		out := map[string][]*machine.ConnectRecord{}

		for _, r := range answer.GetMessages()[0].GetConnectrecord() {
			key := r.GetL4Proto() + " " + r.GetState().String()
			out[key] = append(out[key], r)

			if r.GetProcess() == nil != !req.GetFeature().GetPid() {
				t.Errorf("%v: process %v", req, r)
			}
		}

		return out
	}

	local := func(r *machine.ConnectRecord) string {
		return netip.AddrPortFrom(netip.MustParseAddr(r.GetLocalip()), uint16(r.GetLocalport())).String()
	}

	all := ask(&machine.NetstatRequest{Feature: &machine.NetstatRequest_Feature{Pid: true}})
	if l := all["tcp LISTEN"]; len(l) != 1 || local(l[0]) != server || int(l[0].GetProcess().GetPid()) != os.Getpid() || l[0].GetProcess().GetName() == "" {
		t.Errorf("what listens: %v", l)
	}

	if l := all["tcp ESTABLISHED"]; len(l) != 2 {
		t.Errorf("connections: %v", l)
	}

	if l := all["tcp TIME_WAIT"]; len(l) != 1 || l[0].GetProcess().GetPid() != 0 {
		t.Errorf("connections that are over: %v", all)
	}

	if l := all["udp6 CLOSE"]; len(l) != 1 || local(l[0]) != udp {
		t.Errorf("udp: %v", l)
	}

	for _, c := range []struct {
		req  *machine.NetstatRequest
		want int
	}{
		{&machine.NetstatRequest{}, 5},
		{&machine.NetstatRequest{Filter: machine.NetstatRequest_LISTENING}, 2},
		{&machine.NetstatRequest{Filter: machine.NetstatRequest_CONNECTED}, 3},
		{&machine.NetstatRequest{L4Proto: &machine.NetstatRequest_L4Proto{Udp: true, Udp6: true}}, 1},
		{&machine.NetstatRequest{L4Proto: &machine.NetstatRequest_L4Proto{Raw: true, Udplite6: true}}, 0},
		{&machine.NetstatRequest{Netns: &machine.NetstatRequest_NetNS{Hostnetwork: true, Allnetns: true}}, 5},
		{&machine.NetstatRequest{Netns: &machine.NetstatRequest_NetNS{Allnetns: true}}, 0},
	} {
		got := 0
		for _, l := range ask(c.req) {
			got += len(l)
		}

		if got != c.want {
			t.Errorf("%v: %d records, want %d", c.req, got, c.want)
		}
	}

	_, err := api.Netstat(t.Context(), &machine.NetstatRequest{Netns: &machine.NetstatRequest_NetNS{Netns: []string{"cni-1"}}})
	if status.Code(err) != codes.NotFound {
		t.Errorf("a namespace that is not there: %v", err)
	}
}

// sockets opens in the namespace of its thread: one listens, a connection is open, one is over, one is of UDP.
func sockets(t *testing.T) (server, udp string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Error(err)

		return "", ""
	}

	p, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Error(err)

		return "", ""
	}

	t.Cleanup(func() { _ = errors.Join(l.Close(), p.Close()) })

	for _, over := range []bool{false, true} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)

			return "", ""
		}

		s, err := l.Accept()
		if err != nil {
			t.Error(err)

			return "", ""
		}

		if !over {
			t.Cleanup(func() { _ = errors.Join(c.Close(), s.Close()) })

			continue
		}

		// Who ends first is left with what nobody holds; the other has heard of it when its read ends.
		_ = c.Close()
		_, _ = s.Read(make([]byte, 1))
		_ = s.Close()
	}

	return l.Addr().String(), p.LocalAddr().String()
}
