package kittest_test

import (
	"net"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

func TestNetNSIsApart(t *testing.T) {
	ns := kittest.NetNS(t)

	if out := ns.Exec("ip", "-o", "link"); strings.Count(out, "\n") != 1 || !strings.Contains(out, "LOOPBACK,UP") {
		t.Errorf("links are:\n%s", out)
	}

	var inside []net.Interface

	ns.Run(func() { inside, _ = net.Interfaces() })

	if len(inside) != 1 || inside[0].Name != "lo" {
		t.Errorf("inside there are %v", inside)
	}

	// Whoever runs next is outside.
	ns.Exec("ip", "link", "add", "kittest0", "type", "veth", "peer", "name", "kittest1")

	if _, err := net.InterfaceByName("kittest0"); err == nil {
		t.Error("the test got into the namespace")
	}
}
