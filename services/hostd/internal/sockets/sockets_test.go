package sockets

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:C350 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 19347 1 0000000000000000 100 0 0 10 0
   1: 0201A8C0:01BB 0501A8C0:D431 01 00000010:00000020 02:000006E9 00000003  1000        7 65210 2 00000000abcdef01 21 4 30 10 -1
`

func TestParse(t *testing.T) {
	list, err := parse(strings.NewReader(table), "tcp")
	if err != nil {
		t.Fatal(err)
	}

	want := []Socket{
		{
			Protocol: "tcp", Local: netip.MustParseAddrPort("127.0.0.1:50000"), Remote: netip.MustParseAddrPort("0.0.0.0:0"),
			State: 10, Inode: 19347, Ref: 1,
		},
		{
			Protocol: "tcp", Local: netip.MustParseAddrPort("192.168.1.2:443"), Remote: netip.MustParseAddrPort("192.168.1.5:54321"),
			State: 1, TxQueue: 16, RxQueue: 32, Timer: 2, TimerWhen: 0x6e9, Retransmits: 3, UID: 1000, Timeout: 7,
			Inode: 65210, Ref: 2, Pointer: 0xabcdef01,
		},
	}
	if !slices.Equal(list, want) {
		t.Fatalf("got  %+v\nwant %+v", list, want)
	}

	if !list[0].Listening() || list[0].Connected() || list[1].Listening() || !list[1].Connected() {
		t.Fatal("listening and connected are mixed up")
	}

	for _, bad := range []string{"x", "0: 1", strings.Replace(table, "0100007F", "0100007", 1), strings.Replace(table, "19347", "-1", 1)} {
		if _, err := parse(strings.NewReader("titles\n"+bad), "tcp"); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestOwnSocket(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	list, err := List("/proc/net", "tcp6")
	if err != nil {
		t.Fatal(err)
	}

	port := netip.MustParseAddrPort(l.Addr().String())

	i := slices.IndexFunc(list, func(s Socket) bool { return s.Local == port && s.Listening() })
	if i < 0 {
		t.Fatalf("%s is not in %+v", port, list)
	}

	if p := Holders("/proc")[list[i].Inode]; int(p.PID) != os.Getpid() {
		t.Fatalf("held by %+v", p)
	}
}
