package health_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	clusterapi "github.com/dactyl-os/dactyl/proto/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/gossip"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/health"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/membership"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/record"
)

// mesh is what the last look sees; each look takes the next view.
type mesh struct {
	views [][]membership.Member
	gone  string
}

func (m *mesh) There(id string) bool { return id != m.gone }

func (m *mesh) View() (gossip.View, bool) {
	members := m.views[0]
	if len(m.views) > 1 {
		m.views = m.views[1:]
	}

	return gossip.View{Members: members}, members != nil
}

func member(name, address string, kind enums.MachineType, how string) membership.Member {
	return membership.Member{Name: name, Record: record.Record{
		NodeID: name, Hostname: name + ".example.org", MachineType: int32(kind), Addresses: []netip.Addr{netip.MustParseAddr(address)}, Health: how,
	}}
}

func pair(how string) []membership.Member {
	return []membership.Member{
		member("cp", "10.0.0.2", enums.MachineTypeControlPlane, record.Ready), member("w", "10.0.0.5", enums.MachineTypeWorker, how),
	}
}

func TestChecks(t *testing.T) {
	both := &clusterapi.ClusterInfo{ControlPlaneNodes: []string{"10.0.0.2"}, WorkerNodes: []string{"w.example.org"}}

	for name, test := range map[string]struct {
		members []membership.Member
		gone    string
		asked   *clusterapi.ClusterInfo
		want    string
	}{
		"all well":            {members: pair(record.Ready)},
		"as asked":            {members: pair(record.Ready), asked: both},
		"one is booting":      {members: pair("booting, service etcdd is Waiting"), want: "w: booting, service etcdd is Waiting"},
		"one does not tell":   {members: pair(""), want: "w has not told how it is"},
		"one is away":         {members: pair(record.Ready), gone: "w", want: "w does not answer"},
		"one is missing":      {members: pair(record.Ready)[:1], asked: both, want: "w.example.org is no member"},
		"one is another kind": {members: pair(record.Ready), asked: &clusterapi.ClusterInfo{ControlPlaneNodes: []string{"w"}}, want: "w is a worker"},
		"only what is asked":  {members: pair("booting"), asked: &clusterapi.ClusterInfo{ControlPlaneNodes: []string{"cp"}}},
		"a worker alone":      {members: pair(record.Ready)[1:], want: "no control plane node is known"},
	} {
		var missing []string
		for _, check := range health.Checks(test.members, (&mesh{gone: test.gone}).There, test.asked) {
			missing = append(missing, check.Missing)
		}

		if got := strings.Join(slices.DeleteFunc(missing, func(s string) bool { return s == "" }), "; "); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

type stream struct {
	grpc.ServerStream

	ctx  context.Context
	said []string
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) Send(m *clusterapi.HealthCheckProgress) error {
	s.said = append(s.said, m.GetMessage())

	return nil
}

// TestSaysWhatIsMissingOnce: each reason is said when it changes, and the last one stands in the error.
func TestSaysWhatIsMissingOnce(t *testing.T) {
	s := &stream{ctx: t.Context()}
	if err := health.New(&mesh{views: [][]membership.Member{nil, pair("booting"), pair("booting"), pair(record.Ready)}}).HealthCheck(&clusterapi.HealthCheckRequest{}, s); err != nil {
		t.Fatal(err)
	}

	want := `waiting for this node to know itself: it has no name and no address yet
waiting for all nodes to be members of the cluster: OK
waiting for all nodes to answer: OK
waiting for all nodes to be ready and their services healthy, etcd among them: w: booting
waiting for all nodes to be ready and their services healthy, etcd among them: OK`
	if got := strings.Join(s.said, "\n"); got != want {
		t.Errorf("said\n%s\nwant\n%s", got, want)
	}

	err := health.New(&mesh{views: [][]membership.Member{pair("booting")}}).HealthCheck(&clusterapi.HealthCheckRequest{WaitTimeout: durationpb.New(time.Millisecond)}, s)
	if status.Code(err) != codes.DeadlineExceeded || !strings.HasSuffix(status.Convert(err).Message(), "etcd among them: w: booting") {
		t.Errorf("%v", err)
	}
}
