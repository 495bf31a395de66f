package seeds_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/discoveryd/internal/seeds"
)

func addrs(text string) []netip.Addr {
	var list []netip.Addr
	for _, field := range strings.Fields(text) {
		list = append(list, netip.MustParseAddr(field))
	}

	return list
}

func TestTargets(t *testing.T) {
	t.Parallel()

	remembered := []seeds.Peer{
		{NodeID: "a", Addresses: addrs("10.5.0.2 fd00::2")},
		{NodeID: "b", Addresses: addrs("10.5.0.3")},
	}

	for _, test := range []struct {
		name                 string
		endpoint, own, alive string
		there                map[string]bool
		want                 string
	}{
		{"first start", "10.5.0.2", "10.5.0.4", "", nil, "10.5.0.2 fd00::2 10.5.0.3"},
		{"the endpoint is this node", "10.5.0.4", "10.5.0.4", "", nil, "10.5.0.2 fd00::2 10.5.0.3"},
		{"all there", "10.5.0.2", "10.5.0.4", "10.5.0.2 10.5.0.3", map[string]bool{"a": true, "b": true}, ""},
		{"one away", "10.5.0.2", "10.5.0.4", "10.5.0.2", map[string]bool{"a": true}, "10.5.0.3"},
		{"the endpoint is away", "10.5.0.9", "10.5.0.4", "10.5.0.2", map[string]bool{"a": true, "b": true}, "10.5.0.9"},
		{"loopback and mapped", "127.0.0.1 ::ffff:10.5.0.4", "10.5.0.4", "", map[string]bool{"a": true, "b": true}, ""},
	} {
		got := seeds.Targets(addrs(test.endpoint), remembered, test.there, addrs(test.own), addrs(test.alive))

		if text := strings.Trim(fmt.Sprint(got), "[]"); text != test.want {
			t.Errorf("%s: got %q, want %q", test.name, text, test.want)
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()

	var total time.Duration
	for round := range 6 {
		total += seeds.Delay(round)
	}

	if total > 3*time.Second || seeds.Delay(6) < time.Second || seeds.Delay(1000) != 30*time.Second {
		t.Errorf("six rounds take %s, then %s, at last %s", total, seeds.Delay(6), seeds.Delay(1000))
	}
}

func TestRemember(t *testing.T) {
	t.Parallel()

	var before []seeds.Peer
	for i := range 100 {
		before = append(before, seeds.Peer{NodeID: fmt.Sprint(i), Addresses: addrs("10.5.0.2")})
	}

	moved := seeds.Peer{NodeID: "99", Addresses: addrs("10.5.0.99")}

	kept := seeds.Remember([]seeds.Peer{moved, {NodeID: "silent"}}, before)
	if len(kept) != seeds.MaxPeers || !seeds.Equal(kept[:2], []seeds.Peer{moved, before[0]}) {
		t.Errorf("kept %d, first %v", len(kept), kept[:2])
	}
}

func TestFile(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	if peers, err := seeds.Load(dir); err != nil || len(peers) != 0 {
		t.Errorf("no file: %v %v", peers, err)
	}

	want := []seeds.Peer{{NodeID: "a", Addresses: addrs("10.5.0.2")}}
	if err := seeds.Save(dir, want); err != nil {
		t.Fatal(err)
	}

	if got, err := seeds.Load(dir); err != nil || !seeds.Equal(got, want) {
		t.Errorf("got %v %v", got, err)
	}

	if err := os.WriteFile(filepath.Join(dir, seeds.FileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}

	if _, err := seeds.Load(dir); err == nil || err.Error() != "parse remembered peers: unexpected end of JSON input" {
		t.Errorf("damaged file: %v", err)
	}
}
