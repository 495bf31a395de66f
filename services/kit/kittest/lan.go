package kittest

import (
	"fmt"
	"testing"
)

// LAN makes namespaces with eth0 10.5.0.2/24, .3 … on a bridge in a namespace of its own. It needs root.
func LAN(t testing.TB, nodes int) []*NS {
	t.Helper()

	hub := NetNS(t)
	hub.Exec("ip", "link", "add", "br0", "type", "bridge")
	hub.Exec("ip", "link", "set", "br0", "up")

	var list []*NS

	for i := range nodes {
		ns, port := NetNS(t), fmt.Sprintf("port%d", i)
		hub.Exec("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", ns.Name)
		hub.Exec("ip", "link", "set", port, "master", "br0", "up")
		ns.Exec("ip", "addr", "add", fmt.Sprintf("10.5.0.%d/24", i+2), "dev", "eth0")
		ns.Exec("ip", "link", "set", "eth0", "up")

		list = append(list, ns)
	}

	return list
}
