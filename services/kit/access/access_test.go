package access_test

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	// The methods of the contract, and cosi's.
	_ "github.com/cosi-project/runtime/api/v1alpha1"
	_ "github.com/dactyl-os/dactyl/proto/cluster"
	_ "github.com/dactyl-os/dactyl/proto/inspect"
	_ "github.com/dactyl-os/dactyl/proto/local/dactyl/diskd/v1"
	_ "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	_ "github.com/dactyl-os/dactyl/proto/machine"
	_ "github.com/dactyl-os/dactyl/proto/security"
	_ "github.com/dactyl-os/dactyl/proto/storage"
	_ "github.com/dactyl-os/dactyl/proto/time"

	"github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// contract reads testdata/rbac.txt: a method and the roles that may call it.
func contract(t *testing.T) map[string][]string {
	t.Helper()

	f, err := os.Open("testdata/rbac.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	names := map[string]string{
		"Admin": access.Admin, "Operator": access.Operator, "Reader": access.Reader, "EtcdBackup": access.EtcdBackup,
	}
	table := map[string][]string{}

	for lines := bufio.NewScanner(f); lines.Scan(); {
		method, list, _ := strings.Cut(lines.Text(), " ")
		for _, word := range strings.Split(list, ",") {
			table[method] = append(table[method], names[word])
		}
	}

	return table
}

// TestEveryMethodAndRole compares the descriptors with the contract, each method with each role.
func TestEveryMethodAndRole(t *testing.T) {
	table := contract(t)
	if len(table) < 50 {
		t.Fatalf("only %d methods in the contract", len(table))
	}

	for method, roles := range table {
		for _, role := range []string{access.Admin, access.Operator, access.Reader, access.EtcdBackup, access.Impersonator, "os:unknown", ""} {
			want := codes.PermissionDenied
			if slices.Contains(roles, role) {
				want = codes.OK
			}

			if got := status.Code(access.Check(method, []string{role})); got != want {
				t.Errorf("%s with the role %q gives %s, want %s", method, role, got, want)
			}
		}
	}

	for name, m := range access.Methods() {
		if _, ok := table[name]; !ok && len(m.Roles) > 0 {
			t.Errorf("%s may be called by %v but is not in the contract", name, m.Roles)
		}
	}
}

// TestCallersAreDaemons: a name that no daemon has would be given away to whatever unit is called so.
func TestCallersAreDaemons(t *testing.T) {
	daemons := map[string]bool{"gateway": true}
	for _, def := range resource.Definitions() {
		daemons[def.Owner] = true
	}

	declared := 0

	for _, m := range access.Methods() {
		for _, caller := range m.Callers {
			if declared++; !daemons[caller] {
				t.Errorf("%s names the caller %s, which is no daemon", m.Name, caller)
			}
		}
	}

	for _, def := range resource.Definitions() {
		for _, name := range append(slices.Clone(def.Readers), def.Writers...) {
			if !daemons[name] {
				t.Errorf("%s names %s, which is no daemon", def.Type, name)
			}
		}
	}

	if declared < 60 {
		t.Errorf("only %d callers are declared", declared)
	}
}

func TestCallersAreAskedFor(t *testing.T) {
	const reboot = "/machine.MachineService/Reboot"

	if err := access.CheckCaller(reboot, "configd"); err != nil {
		t.Error(err)
	}

	want := "timed may not call /machine.MachineService/Reboot: its callers inside the node are configd"
	if err := access.CheckCaller(reboot, "timed"); status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != want {
		t.Errorf("got %v", err)
	}

	if err := access.CheckCaller("/no.Such/Method", "configd"); status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown method gives %v", err)
	}
}

func TestRefusalSaysWhatIsMissing(t *testing.T) {
	err := access.Check("/machine.MachineService/Reset", []string{access.Reader, access.Operator})
	if want := "not authorized: /machine.MachineService/Reset needs one of the roles os:admin, the caller has os:reader, os:operator"; status.Convert(err).Message() != want {
		t.Errorf("got %q", status.Convert(err).Message())
	}

	if err := access.Check("/no.Such/Method", []string{access.Admin}); status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown method gives %v", err)
	}
}

func TestMethodsKnowTheirOwnerAndShape(t *testing.T) {
	methods := access.Methods()

	for name, want := range map[string]access.Method{
		"/machine.MachineService/Version":            {Owner: "init", Idempotent: true},
		"/machine.MachineService/ApplyConfiguration": {Owner: "configd", Maintenance: true},
		"/machine.MachineService/Copy":               {Owner: "hostd", Idempotent: true, ServerStreaming: true, Streaming: true},
		"/cosi.resource.State/Watch":                 {Idempotent: true, ServerStreaming: true, Streaming: true},
		"/cosi.resource.State/Create":                {},
	} {
		got := methods[name]
		if got.Name != name || got.Owner != want.Owner || got.Idempotent != want.Idempotent ||
			got.ServerStreaming != want.ServerStreaming || got.Streaming != want.Streaming || (want.Maintenance && !got.Maintenance) {
			t.Errorf("%s is %+v", name, got)
		}
	}
}

// TestRequestsAreSmall keeps large requests to the methods that need them, and init to small ones: it must never run out of
// memory.
func TestRequestsAreSmall(t *testing.T) {
	large := map[string]int{
		"/dactyl.diskd.v1.DiskService/Install":          5 << 20,
		"/dactyl.diskd.v1.DiskService/WriteMeta":        2 << 20,
		"/machine.MachineService/ApplyConfiguration":    4 << 20,
		"/machine.MachineService/EtcdRecover":           1 << 20,
		"/machine.MachineService/GenerateConfiguration": 1 << 20,
		"/machine.MachineService/MetaWrite":             1 << 20,
	}

	for name, m := range access.Methods() {
		want := max(large[name], access.DefaultMaxRequest)
		if m.MaxRequest != want {
			t.Errorf("%s takes %d bytes, want %d", name, m.MaxRequest, want)
		}

		if err := access.CheckSize(m, want); err != nil {
			t.Errorf("a request of the largest size: %v", err)
		}

		if err := access.CheckSize(m, want+1); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), name) {
			t.Errorf("%s with a byte more gives %v", name, err)
		}
	}

	for owner, want := range map[string]int{"init": access.DefaultMaxRequest, "hostd": access.DefaultMaxRequest, "configd": 4 << 20} {
		if got := access.MaxRequest(owner); got != want {
			t.Errorf("%s takes %d bytes, want %d", owner, got, want)
		}
	}
}

func TestCleanRoles(t *testing.T) {
	for _, tc := range []struct{ in, want []string }{
		{[]string{"os:admin", "os:reader"}, []string{"os:admin", "os:reader"}},
		{[]string{"os:admin,os:reader"}, []string{"os:admin", "os:reader"}},
		{[]string{"os:admin, os:reader", "os:operator"}, []string{"os:admin", "os:reader", "os:operator"}},
		{nil, nil},
	} {
		if got := access.CleanRoles(tc.in); !slices.Equal(got, tc.want) {
			t.Errorf("%q gives %q", tc.in, got)
		}
	}
}
