package route

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/caller"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// Reach says where a call goes.
type Reach uint8

// Reaches of a call.
const (
	// Local is a call for this node.
	Local Reach = iota
	// One is a call for exactly one node, whose answer comes back as it is.
	One
	// Many is a call for a list of nodes, whose answers carry their target's name.
	Many
)

// MaxTargets bounds what one call asks of other nodes.
const MaxTargets = 512

// Call is everything about a call that its routing depends on.
type Call struct {
	Method string
	Caller caller.Caller
	// Nodes, Node, ProxyFrom and Roles are the metadata of the same names as they arrived.
	Nodes, Node, ProxyFrom, Roles []string
}

// Plan is where a call goes and on whose behalf.
type Plan struct {
	Method *Method
	// Roles travel with the call.
	Roles   []string
	Reach   Reach
	Targets []string
}

// Decide checks the caller's roles and gives the plan of a call on a configured node.
func (t Table) Decide(call Call) (Plan, error) {
	method, ok := t[call.Method]
	if !ok {
		return Plan{}, unknownMethod(call.Method)
	}

	roles := call.Caller.Effective(call.Roles)

	if err := access.Check(call.Method, roles); err != nil {
		return Plan{}, err
	}

	plan := Plan{Method: method, Roles: roles}

	// Only another gateway may say that a call has reached its node.
	if len(call.ProxyFrom) > 0 && call.Caller.Gateway() {
		return plan, nil
	}

	if err := plan.address(call); err != nil {
		return Plan{}, err
	}

	if len(plan.Targets) > MaxTargets {
		return Plan{}, status.Errorf(codes.ResourceExhausted,
			"%s to %d nodes: one call goes to at most %d, make several", call.Method, len(plan.Targets), MaxTargets)
	}

	return plan, nil
}

// DecideMaintenance gives the plan of a call on a node without configuration, where nobody has a certificate yet.
func (t Table) DecideMaintenance(call Call) (Plan, error) {
	method, ok := t[call.Method]
	if !ok {
		return Plan{}, unknownMethod(call.Method)
	}

	if !method.Maintenance {
		return Plan{}, status.Errorf(codes.Unimplemented,
			"%s is not served in maintenance mode: apply a machine configuration to this node first", call.Method)
	}

	if len(call.Nodes) > 0 || len(call.Node) > 0 {
		return Plan{}, status.Error(codes.FailedPrecondition,
			"a node in maintenance mode cannot forward calls: use it as the endpoint, without nodes")
	}

	// Everyone may do what setup needs and no more: resources as a reader, the few methods with a role that they ask for.
	roles := []string{access.Reader}
	if !method.State {
		roles = method.Roles
	}

	return Plan{Method: method, Roles: roles}, nil
}

func (p *Plan) address(call Call) error {
	switch nodes := split(call.Nodes); {
	case len(nodes) == 1 && p.Method.Shape == Plain:
		// There is no place for the target's name in the answer, and no need for it.
		p.Reach, p.Targets = One, nodes
	case len(nodes) > 1 && p.Method.Shape == Plain:
		return status.Errorf(codes.InvalidArgument,
			"%s answers for one node only: send it to each node with the metadata key node", call.Method)
	case len(nodes) > 0:
		p.Reach, p.Targets = Many, nodes
	case len(call.Node) > 0:
		node := split(call.Node)
		if len(node) != 1 {
			return status.Errorf(codes.InvalidArgument, "metadata key node takes exactly one target, got %q", call.Node)
		}

		p.Reach, p.Targets = One, node
	}

	return nil
}

// split gives the targets in their order, each once: HTTP/2 allows repeated headers to be joined by commas.
func split(values []string) []string {
	targets := make([]string, 0, len(values))
	seen := make(map[string]bool, len(values))

	for _, value := range values {
		for target := range strings.SplitSeq(value, ",") {
			if target = strings.TrimSpace(target); target != "" && !seen[target] {
				seen[target] = true

				targets = append(targets, target)
			}
		}
	}

	return targets
}

func unknownMethod(name string) error {
	return status.Errorf(codes.Unimplemented, "no daemon of this system serves %s", name)
}
