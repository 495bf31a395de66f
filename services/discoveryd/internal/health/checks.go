// Package health answers whether the cluster is well, from what its nodes say of themselves by gossip: every node can, without
// asking another.
package health

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	clusterapi "github.com/dactyl-os/dactyl/proto/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/membership"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/record"
)

// Check is one condition and, as long as it is not met, why.
type Check struct{ Name, Missing string }

// Checks looks at the members. With nodes asked for, those must be members and only they are looked at; else all are.
func Checks(members []membership.Member, there func(nodeID string) bool, asked *clusterapi.ClusterInfo) []Check {
	var absent []string

	looked := members

	if named := slices.Concat(asked.GetControlPlaneNodes(), asked.GetWorkerNodes()); len(named) > 0 {
		looked = nil

		for i, name := range named {
			at := slices.IndexFunc(members, func(m membership.Member) bool { return is(m, name) })

			switch wantControl := i < len(asked.GetControlPlaneNodes()); {
			case at < 0:
				absent = append(absent, name+" is no member")
			case controls(members[at]) != wantControl:
				absent = append(absent, fmt.Sprintf("%s is a %s", name, enums.MachineType(members[at].MachineType))) //nolint:gosec // an enumeration
			default:
				looked = append(looked, members[at])
			}
		}
	}

	if !slices.ContainsFunc(members, controls) {
		absent = append(absent, "no control plane node is known")
	}

	var away, unready []string

	for _, m := range looked {
		switch {
		case !there(m.NodeID):
			away = append(away, m.Name+" does not answer")
		case m.Health == "":
			unready = append(unready, m.Name+" has not told how it is")
		case m.Health != record.Ready:
			unready = append(unready, m.Name+": "+m.Health)
		}
	}

	return []Check{
		{"all nodes to be members of the cluster", strings.Join(absent, ", ")},
		{"all nodes to answer", strings.Join(away, ", ")},
		{"all nodes to be ready and their services healthy, etcd among them", strings.Join(unready, ", ")},
	}
}

func controls(m membership.Member) bool {
	kind := enums.MachineType(m.MachineType) //nolint:gosec // an enumeration

	return kind == enums.MachineTypeControlPlane || kind == enums.MachineTypeInit
}

// is says whether a member is what somebody named: by an address, its name or its host name.
func is(m membership.Member, name string) bool {
	if address, err := netip.ParseAddr(name); err == nil {
		return slices.Contains(m.Addresses, address.Unmap())
	}

	return strings.EqualFold(m.Name, name) || strings.EqualFold(m.Hostname, name)
}
