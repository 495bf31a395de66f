package host_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/dactyl-os/dactyl/services/networkd/internal/host"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

func TestRender(t *testing.T) {
	servers := []netip.Addr{}
	for _, text := range []string{"10.0.0.1", "fd00::53", "1.1.1.1", "8.8.8.8"} {
		servers = append(servers, netip.MustParseAddr(text))
	}

	equal(t, string(host.ResolvConf(servers, "")), "nameserver 10.0.0.1\nnameserver fd00::53\nnameserver 1.1.1.1\n")
	equal(t, string(host.ResolvConf(nil, "example.org")), "\nsearch example.org\n")
	equal(t, string(host.Hosts(spec.Hostname{Hostname: "node"}, netip.Addr{}, nil)), `127.0.0.1 localhost
::1       localhost ip6-localhost ip6-loopback
ff02::1   ip6-allnodes
ff02::2   ip6-allrouters
`)
}

// TestNothingElseIsWritten: a name that would be more than a name is not written, whoever let it pass before.
func TestNothingElseIsWritten(t *testing.T) {
	address := netip.MustParseAddr("10.0.0.2")

	for _, bad := range []string{"a\nnameserver 6.6.6.6", "a\x00", "a\r", "a\t", "\x1b[2J", "a#", "\xff", "ä"} {
		equal(t, string(host.ResolvConf(nil, bad)), "")

		want := string(host.Hosts(spec.Hostname{}, netip.Addr{}, nil))
		equal(t, string(host.Hosts(spec.Hostname{Hostname: bad}, address, nil)), want)
		equal(t, string(host.Hosts(spec.Hostname{Hostname: "node", Domainname: bad}, address, nil)), want)
		equal(t, string(host.Hosts(spec.Hostname{}, netip.Addr{}, []spec.Host{{IP: "10.0.0.9", Aliases: []string{bad}}, {IP: bad, Aliases: []string{"a"}}})), want)
	}
}

func TestWriteFile(t *testing.T) {
	h := host.Host{Root: t.TempDir()}
	path := filepath.Join(h.Root, "etc/hosts")

	for _, text := range []string{"one", "two", "two"} {
		if err := h.WriteFile("etc/hosts", []byte(text)); err != nil {
			t.Fatal(err)
		}

		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}

		equal(t, string(got), text)
	}

	// A guest leaves the machine's name alone.
	before, _ := os.Hostname()

	if err := h.SetHostname("not-my-name", ""); err != nil {
		t.Fatal(err)
	}

	after, _ := os.Hostname()
	equal(t, after, before)
}

func equal(t *testing.T, got, want string) {
	t.Helper()

	if got != want {
		t.Errorf("--- got\n%s\n--- want\n%s", got, want)
	}
}
