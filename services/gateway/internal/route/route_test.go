package route_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/dactyl-os/dactyl/services/gateway/internal/caller"
	"github.com/dactyl-os/dactyl/services/gateway/internal/route"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

const (
	version = "/machine.MachineService/Version"
	dmesg   = "/machine.MachineService/Dmesg"
	reset   = "/machine.MachineService/Reset"
	get     = route.StateService + "Get"
)

func table() route.Table { return route.NewTable(access.Methods(), protoregistry.GlobalFiles) }

func with(roles ...string) caller.Caller { return caller.Caller{Roles: roles} }

func TestShapesAreReadFromDescriptors(t *testing.T) {
	for name, method := range table() {
		want := route.List

		switch {
		case strings.HasPrefix(name, route.StateService), strings.HasPrefix(name, "/securityapi."), strings.HasPrefix(name, "/grpc."),
			strings.HasPrefix(name, "/dactyl."):
			want = route.Plain
		case method.ServerStreaming:
			want = route.Stream
		}

		if method.Shape != want {
			t.Errorf("%s: shape %d, want %d", name, method.Shape, want)
		}
	}
}

func TestDecide(t *testing.T) {
	admin, gateway := with(access.Admin), with(access.Impersonator)

	for name, test := range map[string]struct {
		call    route.Call
		code    codes.Code
		reach   route.Reach
		targets []string
		roles   []string
	}{
		"local":           {call: route.Call{Method: version, Caller: admin}, roles: admin.Roles},
		"unknown method":  {call: route.Call{Method: "/a.B/C", Caller: admin}, code: codes.Unimplemented},
		"no role":         {call: route.Call{Method: version}, code: codes.PermissionDenied},
		"role too low":    {call: route.Call{Method: reset, Caller: with(access.Operator)}, code: codes.PermissionDenied},
		"forged role":     {call: route.Call{Method: reset, Caller: with(access.Reader), Roles: admin.Roles}, code: codes.PermissionDenied},
		"gateway alone":   {call: route.Call{Method: version, Caller: gateway}, code: codes.PermissionDenied},
		"gateway for one": {call: route.Call{Method: reset, Caller: gateway, Roles: admin.Roles}, roles: admin.Roles},
		"roles in one value": {
			call:  route.Call{Method: version, Caller: gateway, Roles: []string{"os:reader,os:operator"}},
			roles: []string{access.Reader, access.Operator},
		},
		"impersonator is not handed on": {
			call:  route.Call{Method: version, Caller: gateway, Roles: []string{access.Impersonator, access.Reader}},
			roles: []string{access.Reader},
		},
		"arrived": {
			call:  route.Call{Method: version, Caller: gateway, Roles: admin.Roles, ProxyFrom: []string{"x"}, Nodes: []string{"b"}},
			roles: admin.Roles,
		},
		"forged arrival": {
			call:  route.Call{Method: version, Caller: admin, ProxyFrom: []string{"x"}, Node: []string{"b"}},
			reach: route.One, targets: []string{"b"}, roles: admin.Roles,
		},
		"nodes": {
			call:  route.Call{Method: version, Caller: admin, Nodes: []string{"b", "a, c", "b", ""}},
			reach: route.Many, targets: []string{"b", "a", "c"}, roles: admin.Roles,
		},
		"nodes of a stream": {
			call:  route.Call{Method: dmesg, Caller: admin, Nodes: []string{"a"}},
			reach: route.Many, targets: []string{"a"}, roles: admin.Roles,
		},
		"nodes before node": {
			call:  route.Call{Method: version, Caller: admin, Nodes: []string{"a"}, Node: []string{"b"}},
			reach: route.Many, targets: []string{"a"}, roles: admin.Roles,
		},
		"resource of one of nodes": {
			call:  route.Call{Method: get, Caller: admin, Nodes: []string{"a"}},
			reach: route.One, targets: []string{"a"}, roles: admin.Roles,
		},
		"resource of nodes": {call: route.Call{Method: get, Caller: admin, Nodes: []string{"a", "b"}}, code: codes.InvalidArgument},
		"two of node":       {call: route.Call{Method: version, Caller: admin, Node: []string{"a", "b"}}, code: codes.InvalidArgument},
		"empty node":        {call: route.Call{Method: version, Caller: admin, Node: []string{""}}, code: codes.InvalidArgument},
		"empty nodes":       {call: route.Call{Method: version, Caller: admin, Nodes: []string{""}}, roles: admin.Roles},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := table().Decide(test.call)
			if status.Code(err) != test.code {
				t.Fatalf("got %v, want %s", err, test.code)
			}

			if err != nil {
				return
			}

			if plan.Reach != test.reach || !slices.Equal(plan.Targets, test.targets) || !slices.Equal(plan.Roles, test.roles) {
				t.Errorf("got %+v", plan)
			}
		})
	}
}

func TestMaintain(t *testing.T) {
	plan, err := table().DecideMaintenance(route.Call{Method: get, Roles: []string{access.Admin}})
	if err != nil || !slices.Equal(plan.Roles, []string{access.Reader}) {
		t.Errorf("resources: %v, %v", plan.Roles, err)
	}

	plan, err = table().DecideMaintenance(route.Call{Method: "/machine.MachineService/ApplyConfiguration"})
	if err != nil || !slices.Contains(plan.Roles, access.Admin) {
		t.Errorf("apply: %v, %v", plan.Roles, err)
	}

	for _, call := range []route.Call{{Method: dmesg}, {Method: version, Node: []string{"a"}}, {Method: version, Nodes: []string{"a"}}} {
		if _, err := table().DecideMaintenance(call); err == nil {
			t.Errorf("%+v was let through", call)
		}
	}
}
