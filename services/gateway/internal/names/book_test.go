package names

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type hosts map[string]netip.Addr

func (h hosts) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if address, ok := h[host]; ok {
		return []netip.Addr{address}, nil
	}

	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func testBook(now *time.Time, own *[]netip.Addr) *Book {
	return &Book{
		resolver:  hosts{"elsewhere": netip.MustParseAddr("192.0.2.9")},
		addresses: func() ([]netip.Addr, error) { return *own, nil },
		hostname:  func() (string, error) { return "uname-1", nil },
		now:       func() time.Time { return *now },
		members:   map[string]member{}, former: map[string]bool{},
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
		addresses, _, err := book.Resolve(t.Context(), host)

		var got []string
		for _, address := range addresses {
			got = append(got, address.String())
		}

		if !slices.Equal(got, want) || (err != nil) != (want == nil) {
			t.Errorf("%s: got %q, %v", host, got, err)
		}
	}

	book.Forget("id-2")

	if _, _, err := book.Resolve(t.Context(), "cp-2"); err == nil {
		t.Error("a member that left is still known")
	}
}

// TestNamesChangeHands: at each moment a name is at most one node's, and one that nobody has any more is not looked for.
func TestNamesChangeHands(t *testing.T) {
	now := time.Now()
	book := testBook(&now, &[]netip.Addr{})
	first, second := netip.MustParseAddr("10.5.0.3"), netip.MustParseAddr("10.5.0.4")

	// Whoever looks here for a name that a member had is wrong.
	book.resolver = hosts{"alpha": netip.MustParseAddr("192.0.2.1"), "beta": netip.MustParseAddr("192.0.2.2")}

	book.Member("alpha", "alpha.example.org", []netip.Addr{first})
	book.Member("beta", "beta.example.org", []netip.Addr{second})

	check := func(step, name string, want ...netip.Addr) {
		t.Helper()

		got, member, err := book.Resolve(t.Context(), name)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) || member != (want != nil) {
			t.Errorf("%s: %s is %v, a member's: %t, %v", step, name, got, member, err)
		}

		if want == nil && status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: %s: %v", step, name, err)
		}
	}

	check("before", "alpha", first)
	check("before", "BETA.example.org", second)

	// One change after the other, as gossip brings them.
	book.Member("beta", "alpha.example.org", []netip.Addr{second})
	check("both have it", "alpha.example.org")
	book.Member("alpha", "beta.example.org", []netip.Addr{first})
	check("swapped", "alpha.example.org", second)
	check("swapped", "beta.example.org", first)

	book.Forget("beta")
	check("gone", "beta")
	check("gone", "alpha.example.org")
	check("gone", "alpha", first)

	book.Member("beta", "beta.example.org", []netip.Addr{second})
	check("two again", "beta.example.org")
}

// TestRenamed: a node refuses a name that is not its own, once it knows its names.
func TestRenamed(t *testing.T) {
	now := time.Now()
	book := testBook(&now, &[]netip.Addr{})

	if book.Renamed("alpha", nil) {
		t.Error("a node that does not know its name yet refuses one")
	}

	book.Own("beta", "")

	for name, want := range map[string]bool{"alpha": true, "beta": false, "uname-1": false} {
		if got := book.Renamed(name, nil); got != want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

// bounded is a resolver that tells how long it may take.
type bounded struct{ left *time.Duration }

func (b bounded) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	if deadline, ok := ctx.Deadline(); ok {
		*b.left = time.Until(deadline)
	}

	return nil, &net.DNSError{Err: "i/o timeout", IsTimeout: true}
}

func TestUnknownNameIsNotLookedForLong(t *testing.T) {
	now := time.Now()
	book := testBook(&now, &[]netip.Addr{})

	var left time.Duration

	book.resolver = bounded{&left}

	if _, _, err := book.Resolve(t.Context(), "nosuch"); status.Code(err) != codes.Unavailable || left <= 0 || left > 3*time.Second {
		t.Errorf("%s are allowed for it; %v", left, err)
	}
}
