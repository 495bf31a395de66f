// Package access reads from the protobuf descriptors who serves each method and who may call it.
package access

import (
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Roles of the contract, as they appear in a client certificate's organization.
const (
	Admin        = "os:admin"
	Operator     = "os:operator"
	Reader       = "os:reader"
	EtcdBackup   = "os:etcd:backup"
	Impersonator = "os:impersonator"
)

// RoleKey is the gRPC metadata key in which the gateway hands the caller's roles on, one value a role.
const RoleKey = "talos-role"

// DefaultMaxRequest is the largest request of a method whose .proto names none.
const DefaultMaxRequest = 64 << 10

// Method is what the descriptors say about one RPC.
type Method struct {
	// Name is the full method as gRPC spells it: /machine.MachineService/Version.
	Name string
	// Owner is the daemon that serves it; "" when that depends on the request (cosi.resource.State) or nobody is named.
	Owner string
	// Roles lists who may call it from outside the node; empty: nobody.
	Roles []string
	// Callers lists the daemons that may call it from inside the node; empty: none.
	Callers []string
	// Idempotent methods may be sent again after a broken connection.
	Idempotent bool
	// Maintenance methods are served before the node has a configuration.
	Maintenance bool
	// MaxRequest bounds a request, or each message of a stream of requests, in bytes.
	MaxRequest int
	// ClientStreaming and ServerStreaming give the shape; Streaming is either.
	ClientStreaming, ServerStreaming, Streaming bool
}

// Allows tells whether one of the roles may call the method.
func (m Method) Allows(roles []string) bool {
	for _, role := range roles {
		if slices.Contains(m.Roles, role) {
			return true
		}
	}

	return false
}

var methods = sync.OnceValue(readDescriptors)

// Methods is the table of every method linked into this binary, by full method name. It is shared: do not change it.
func Methods() map[string]Method { return methods() }

// Check refuses a caller whose roles do not allow the method; the error is a gRPC status. Methods without roles
// (health, reflection, node-local APIs) are refused to everybody from outside.
func Check(method string, roles []string) error {
	m, ok := methods()[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}

	if m.Allows(roles) {
		return nil
	}

	return status.Errorf(codes.PermissionDenied, "not authorized: %s needs one of the roles %s, the caller has %s",
		method, list(m.Roles), list(roles))
}

// MaxRequest is the largest request that a daemon takes for any of its methods, resources included, in bytes.
func MaxRequest(owner string) int {
	largest := DefaultMaxRequest

	for _, m := range methods() {
		if m.Owner == owner || m.Owner == "" {
			largest = max(largest, m.MaxRequest)
		}
	}

	return largest
}

// CheckSize refuses a request that is larger than its method takes; the error is a gRPC status.
func CheckSize(m Method, size int) error {
	if size <= m.MaxRequest {
		return nil
	}

	return status.Errorf(codes.ResourceExhausted, "%s takes at most %d bytes in one message, this one has %d", m.Name, m.MaxRequest, size)
}

// CheckCaller refuses a daemon that is not one of the method's callers; the error is a gRPC status.
func CheckCaller(method, daemon string) error {
	m, ok := methods()[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}

	if slices.Contains(m.Callers, daemon) {
		return nil
	}

	return status.Errorf(codes.PermissionDenied, "%s may not call %s: its callers inside the node are %s", daemon, method, list(m.Callers))
}

// CleanRoles gives the values of RoleKey as a list: gateways send one value a role, older ones a comma-separated list.
func CleanRoles(values []string) []string {
	if !slices.ContainsFunc(values, func(v string) bool { return strings.ContainsAny(v, ", ") }) {
		return values
	}

	var roles []string
	for _, v := range values {
		roles = append(roles, strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })...)
	}

	return roles
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}

	return strings.Join(names, ", ")
}
