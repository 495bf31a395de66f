package rtnl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

func dial(t *testing.T) (*kittest.NS, *Conn) {
	t.Helper()
	kittest.RequireRoot(t)

	var (
		c   *Conn
		err error
	)

	ns := kittest.NetNS(t)
	ns.Run(func() { c, err = Dial() })

	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { c.Close() })

	return ns, c
}

// batch runs one `ip` command for each number below n.
func batch(t *testing.T, ns *kittest.NS, n int, command func(int) string) {
	t.Helper()

	var script strings.Builder

	for i := range n {
		script.WriteString(command(i) + "\n")
	}

	ns.Exec("sh", "-c", fmt.Sprintf("ip -batch - <<'EOF'\n%sEOF", script.String()))
}

// TestInterruptedDumpIsNoticed: the kernel makes a dump in pieces, as it is read. Addresses that go meanwhile shift the
// rest, and some of those that stay are left out.
func TestInterruptedDumpIsNoticed(t *testing.T) {
	const addresses = 1000

	for _, kept := range []int{addresses / 2, 1} { // with one kept, nothing but the last, empty message tells
		t.Run(fmt.Sprint(kept), func(t *testing.T) {
			ns, c := dial(t)
			address := func(i int) string { return fmt.Sprintf("10.%d.%d.1/32", i/250, i%250) }

			ns.Exec("ip", "link", "add", "d0", "type", "veth")
			batch(t, ns, addresses, func(i int) string { return "addr add " + address(i) + " dev d0" })

			if err := c.begin(); err != nil {
				t.Fatal(err)
			}

			header := make([]byte, unix.SizeofIfAddrmsg)
			header[0] = unix.AF_INET

			sent, err := c.nl.Send(netlink.Message{
				Header: netlink.Header{Type: unix.RTM_GETADDR, Flags: netlink.Request | netlink.Dump}, Data: header,
			})
			if err != nil {
				t.Fatal(err)
			}

			batch(t, ns, addresses-kept, func(i int) string { return "addr del " + address(i) + " dev d0" })

			if messages, interrupted, err := c.answer(sent.Header.Sequence); err != nil || !interrupted {
				t.Errorf("%d messages, interrupted %v, %v", len(messages), interrupted, err)
			}

			s, err := c.Snapshot()
			if err != nil {
				t.Fatal(err)
			}

			found := slices.DeleteFunc(s.Addresses, func(a Address) bool { return a.LinkName != "d0" })
			if len(found) != kept {
				t.Errorf("%d addresses, want %d", len(found), kept)
			}
		})
	}
}

func TestInterruptedDumpIsAskedAgain(t *testing.T) {
	for _, test := range []struct {
		interruptions, asked int
		err                  error
	}{{0, 1, nil}, {3, 4, nil}, {dumpTries, dumpTries, errInterrupted}} {
		asked := 0

		messages, err := whole(func() ([]netlink.Message, bool, error) {
			asked++

			return make([]netlink.Message, asked), asked <= test.interruptions, nil
		})

		if !errors.Is(err, test.err) || asked != test.asked || err == nil && len(messages) != asked {
			t.Errorf("%d interruptions: asked %d times, %d messages, %v", test.interruptions, asked, len(messages), err)
		}
	}

	broken := errors.New("broken")
	if _, err := whole(func() ([]netlink.Message, bool, error) { return nil, true, broken }); !errors.Is(err, broken) {
		t.Errorf("an error: %v", err)
	}
}
