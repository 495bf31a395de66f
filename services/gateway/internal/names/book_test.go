package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

type hosts map[string]netip.Addr

func (h hosts) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if address, ok := h[host]; ok {
		return []netip.Addr{address}, nil
	}

	return nil, errors.New("no such host")
}

func testBook(now *time.Time, own *[]netip.Addr) *Book {
	return &Book{
		resolver:  hosts{"elsewhere": netip.MustParseAddr("192.0.2.9")},
		addresses: func() ([]netip.Addr, error) { return *own, nil },
		hostname:  func() (string, error) { return "uname-1", nil },
		now:       func() time.Time { return *now },
		members:   map[string]member{},
	}
}

func TestSelf(t *testing.T) {
	now := time.Now()
	own := []netip.Addr{netip.MustParseAddr("10.5.0.2"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("127.0.0.1")}
	book := testBook(&now, &own)
	book.Own("cp-1", "example.org")
	book.Member("cp-1-id", "Member-1", []netip.Addr{netip.MustParseAddr("10.5.0.2")})
	book.Member("cp-2-id", "cp-2", []netip.Addr{netip.MustParseAddr("10.5.0.3")})

	local := &net.TCPAddr{IP: net.ParseIP("172.20.0.9"), Port: 50000}

	for target, want := range map[string]bool{
		"10.5.0.2": true, "10.5.0.3": false, "172.20.0.9": true, "fe80::1": true, "fe80::1%eth0": true, "::ffff:10.5.0.2": true,
		"127.0.0.1": true, "127.0.0.2": false, "localhost": true, "cp-1": true, "CP-1": true, "cp-1.example.org": true,
		"uname-1": true, "member-1": true, "cp-1-id": true, "cp-2": false, "elsewhere": false, "": false,
	} {
		if got := book.Self(target, local); got != want {
			t.Errorf("%q: got %t", target, got)
		}
	}
}

func TestSelfFollowsTheKernel(t *testing.T) {
	now := time.Now()
	own := []netip.Addr{netip.MustParseAddr("10.5.0.2")}
	book := testBook(&now, &own)

	if !book.Self("10.5.0.2", nil) || book.Self("10.5.0.9", nil) {
		t.Fatal("wrong at the start")
	}

	own = append(own, netip.MustParseAddr("10.5.0.9"))
	now = now.Add(2 * addressAge)

	if !book.Self("10.5.0.9", nil) {
		t.Error("an added address is not known")
	}
}

func TestResolve(t *testing.T) {
	now := time.Now()
	book := testBook(&now, &[]netip.Addr{})
	book.Member("id-2", "cp-2", []netip.Addr{netip.MustParseAddr("10.5.0.3"), netip.MustParseAddr("fd00::3")})

	for host, want := range map[string][]string{
		"10.5.0.7": {"10.5.0.7"}, "cp-2": {"10.5.0.3", "fd00::3"}, "elsewhere": {"192.0.2.9"}, "nowhere": nil,
	} {
		addresses, err := book.Resolve(t.Context(), host)

		var got []string
		for _, address := range addresses {
			got = append(got, address.String())
		}

		if !slices.Equal(got, want) || (err != nil) != (want == nil) {
			t.Errorf("%s: got %q, %v", host, got, err)
		}
	}

	book.Forget("id-2")

	if _, err := book.Resolve(t.Context(), "cp-2"); err == nil {
		t.Error("a member that left is still known")
	}
}
