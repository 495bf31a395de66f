package proxy_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
)

// TestNodeRefusesANameThatIsNotItsOwn: the news of a new name has not come to the gateway that forwards.
func TestNodeRefusesANameThatIsNotItsOwn(t *testing.T) {
	p := startPair(t)
	there := []netip.Addr{netip.MustParseAddr("127.0.0.3")}

	call := func(target string) error {
		_, err := p.admin.Hostname(with(t, "node", target), &emptypb.Empty{})

		return err
	}

	p.first.book.Member("alpha", "alpha", there)
	p.second.book.Own("alpha", "")

	if err := call("alpha"); err != nil {
		t.Fatal(err)
	}

	p.second.book.Own("beta", "")

	if err := call("alpha"); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), `"alpha" is not the name of this node any more`) {
		t.Errorf("by its old name: %v", err)
	}

	if err := call("127.0.0.3"); err != nil {
		t.Errorf("by its address: %v", err)
	}

	p.first.book.Forget("alpha")
	p.first.book.Member("beta", "beta", there)

	if err := call("beta"); err != nil {
		t.Errorf("by its new name: %v", err)
	}

	if err := call("alpha"); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), `node alpha: no member of the cluster is named "alpha" any more`) {
		t.Errorf("a name that nobody has: %v", err)
	}

	// Only another gateway can say for whom a call is meant.
	if _, err := p.admin.Version(with(t, "dactyl-target", "alpha", "proxyfrom", "127.0.0.9"), &emptypb.Empty{}); err != nil {
		t.Errorf("a client's header: %v", err)
	}

	answer, err := p.admin.Hostname(with(t, "nodes", "alpha,beta"), &emptypb.Empty{})
	if err != nil || len(answer.GetMessages()) != 2 || answer.GetMessages()[0].GetMetadata().GetError() == "" || hostnameOf(answer) == "" {
		t.Errorf("both in one call: %v, %v", answer, err)
	}
}

func hostnameOf(answer *machine.HostnameResponse) string {
	return answer.GetMessages()[1].GetHostname()
}

// TestCallsAreLogged: who called what from where, and how it ended; nothing of what was sent.
func TestCallsAreLogged(t *testing.T) {
	p := startPair(t)

	if _, err := p.admin.Hostname(with(t, "node", "127.0.0.3", "password", "hunter2"), &emptypb.Empty{}); err != nil {
		t.Fatal(err)
	}

	if _, err := p.admin.Version(with(t, fake.FailKey, "NotFound"), &emptypb.Empty{}); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}

	for what, want := range map[*node][]string{
		p.first: {
			`level=INFO msg=call method=/machine.MachineService/Hostname roles=os:admin code=OK took=\S+ from=127.0.0.1`,
			`level=INFO msg=call method=/machine.MachineService/Version roles=os:admin code=NotFound took=\S+ from=127.0.0.1`,
		},
		p.second: {`level=INFO msg=call method=/machine.MachineService/Hostname roles=os:admin code=OK took=\S+ from=127.0.0.1`},
	} {
		lines := regexp.MustCompile(`(?m)^time=\S+ level=INFO msg=call .*$`).FindAllString(what.log.String(), -1)
		if len(lines) != len(want) {
			t.Fatalf("%s: got %q", what.address, lines)
		}

		for i, line := range lines {
			if !regexp.MustCompile(want[i] + `$`).MatchString(line) {
				t.Errorf("%s: got %s", what.address, line)
			}
		}
	}
}
