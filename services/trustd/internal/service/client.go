package service

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/proto/machine"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
)

// Roles that a client configuration may have. The gateways' own role is not
// among them: with it, a caller could claim any other.
func Roles() []string { return []string{"os:admin", "os:operator", "os:reader", "os:etcd:backup"} }

// Machine answers trustd's part of the machine service.
type Machine struct {
	machine.UnimplementedMachineServiceServer

	// Local is this daemon's own state, State that of all.
	Local, State state.State
	Now          func() time.Time
}

// GenerateClientConfiguration makes a client certificate with the given roles,
// valid for the given time (a year when none is given), and a client configuration with it.
func (m *Machine) GenerateClientConfiguration(
	ctx context.Context, request *machine.GenerateClientConfigurationRequest,
) (*machine.GenerateClientConfigurationResponse, error) {
	root, err := osRoot(ctx, m.Local)
	if err != nil {
		return nil, err
	}

	if root.IssuingCA == nil || len(root.IssuingCA.Key) == 0 {
		return nil, status.Error(codes.FailedPrecondition, "client configurations are made on control plane nodes only: this machine is a worker")
	}

	authority, err := issuing(root)
	if err != nil {
		return nil, err
	}

	roles, err := CheckRoles(request.GetRoles())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}

	ttl := pki.LeafValidity
	if request.GetCrtTtl() != nil {
		ttl = request.GetCrtTtl().AsDuration()
	}

	if ttl <= 0 {
		return nil, status.Errorf(codes.InvalidArgument, "crt_ttl must be positive, it is %s", ttl)
	}

	pair, err := authority.Issue(pki.Request{Organization: roles, Usage: pki.Client, Validity: ttl}, m.Now())
	if err != nil {
		return nil, status.Errorf(codes.Internal, "issue client certificate: %v", err)
	}

	name, err := m.contextName(ctx, roles)
	if err != nil {
		return nil, err
	}

	file := clientconfig.Config{
		Context:  name,
		Contexts: map[string]*clientconfig.Context{name: clientconfig.NewContext(nil, root.IssuingCA.Crt, pair.Crt, pair.Key)},
	}

	data, err := file.Bytes()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}

	return &machine.GenerateClientConfigurationResponse{Messages: []*machine.GenerateClientConfiguration{{
		Ca: root.IssuingCA.Crt, Crt: pair.Crt, Key: pair.Key, Talosconfig: data,
	}}}, nil
}

// CheckRoles gives the roles, sorted and once each; os:admin when none are asked for.
func CheckRoles(asked []string) ([]string, error) {
	if len(asked) == 0 {
		asked = []string{"os:admin"}
	}

	for _, role := range asked {
		if !slices.Contains(Roles(), role) {
			return nil, fmt.Errorf("unknown role %q: the roles are %s", role, strings.Join(Roles(), ", "))
		}
	}

	return slices.Compact(slices.Sorted(slices.Values(asked))), nil
}

// contextName is the cluster's name; a single role stands in front, as in reader@cluster.
func (m *Machine) contextName(ctx context.Context, roles []string) (string, error) {
	stored, err := safe.StateGetByID[*configres.MachineConfig](ctx, m.State, configres.ActiveID)
	if err != nil {
		return "", status.Errorf(codes.Internal, "read machine configuration: %v", err)
	}

	parsed, err := config.Load(stored.TypedSpec().Data)
	if err != nil {
		return "", status.Errorf(codes.Internal, "load machine configuration: %v", err)
	}

	name := cmp.Or(parsed.Cluster().ClusterName, "default")
	if len(roles) == 1 {
		name = strings.TrimPrefix(roles[0], "os:") + "@" + name
	}

	return name, nil
}
