package etcdd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	types "github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/etcd"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

const machineConfig = "version: v1alpha1\nmachine:\n  type: controlplane\ncluster:\n  etcd:\n    extraArgs:\n      quota-backend-bytes: \"4294967296\"\n"

// servingAgain is how long a killed daemon may be away.
const servingAgain = 300 * time.Millisecond

type node struct {
	*kittest.Daemon

	state  state.State
	api    machine.MachineServiceClient
	ns     *kittest.NS
	name   string
	addr   string
	owned  []func(t *testing.T)
	issuer *issuer
}

// Two control plane nodes in namespaces of their own, the tests playing networkd, trustd and discoveryd.
func TestDaemon(t *testing.T) {
	kittest.RequireRoot(t)

	if err := types.Register(); err != nil {
		t.Fatal(err)
	}

	ca := newIssuer(t)
	first, second := newNode(t, ca, "cp-1", "10.99.0.1"), newNode(t, ca, "cp-2", "10.99.0.2")

	// The second one listens on "::", as nodes do whose kernel speaks IPv6.
	inet6 := filepath.Join(second.Root, "proc", "net", "if_inet6")
	if err := errors.Join(os.MkdirAll(filepath.Dir(inet6), 0o755), os.WriteFile(inet6, nil, 0o644)); err != nil {
		t.Fatal(err)
	}

	first.ns.Exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", second.ns.Name)

	for _, n := range []*node{first, second} {
		n.ns.Exec("ip", "addr", "add", n.addr+"/24", "dev", "eth0")
		n.ns.Exec("ip", "link", "set", "eth0", "up")
	}

	refusals(t, first)
	first.publish(t, second)
	second.publish(t, first)
	specification(t, first)

	if _, err := first.api.Bootstrap(t.Context(), &machine.BootstrapRequest{}); err != nil {
		t.Fatal(err)
	}

	awaitVoters(t, first, 2)
	awaitVoters(t, second, 2)

	if _, err := first.api.Bootstrap(t.Context(), &machine.BootstrapRequest{}); status.Code(err) != codes.AlreadyExists ||
		status.Convert(err).Message() != "etcd data directory is not empty" {
		t.Errorf("second bootstrap: %v", err)
	}

	agreesWithEtcdctl(t, first)
	maintenance(t, first, second)
	killed(t, first)
	leaves(t, first, second)
}

func refusals(t *testing.T, n *node) {
	t.Helper()

	if _, err := n.api.Bootstrap(t.Context(), &machine.BootstrapRequest{}); status.Code(err) != codes.FailedPrecondition ||
		!strings.Contains(err.Error(), "waiting for the hostname") {
		t.Errorf("bootstrap without a hostname: %v", err)
	}

	if _, err := n.api.EtcdMemberList(t.Context(), &machine.EtcdMemberListRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("member list without a member: %v", err)
	}
}

func specification(t *testing.T, n *node) {
	t.Helper()

	kittest.AwaitNoError(t, 10*time.Second, func() error {
		spec, err := safe.StateGetByID[*etcd.Spec](t.Context(), n.state, etcd.SpecID)
		if err != nil {
			return err
		}

		if s := spec.TypedSpec(); s.Name != n.name || !slices.Equal(s.AdvertisedAddresses, []netip.Addr{netip.MustParseAddr(n.addr)}) {
			return fmt.Errorf("specification: %+v", s)
		}

		keys, err := safe.StateGetByID[*etcd.PKIStatus](t.Context(), n.state, etcd.PKIID)
		if err == nil && !keys.TypedSpec().Ready {
			err = errors.New("keys are not ready")
		}

		return err
	})
}

func awaitVoters(t *testing.T, n *node, count int) []*machine.EtcdMember {
	t.Helper()

	var members []*machine.EtcdMember

	kittest.AwaitNoError(t, 60*time.Second, func() error {
		time.Sleep(50 * time.Millisecond) // between polls: etcd needs the processor too

		answer, err := n.api.EtcdMemberList(t.Context(), &machine.EtcdMemberListRequest{})
		if err != nil {
			return err
		}

		members = answer.GetMessages()[0].GetMembers()
		for _, m := range members {
			if m.GetIsLearner() || m.GetHostname() == "" {
				return fmt.Errorf("members: %v", members)
			}
		}

		if len(members) != count {
			return fmt.Errorf("members: %v", members)
		}

		_, err = safe.StateGetByID[*etcd.Member](t.Context(), n.state, etcd.LocalMemberID)

		return err
	})

	return members
}

// An outside tool with the admin certificate sees the same members and the same status.
func agreesWithEtcdctl(t *testing.T, n *node) {
	t.Helper()

	if _, err := exec.LookPath("etcdctl"); err != nil {
		t.Skip("SKIPPED: this test needs etcdctl (Debian package etcd-client)")
	}

	var theirs struct {
		Header struct {
			MemberID uint64 `json:"member_id"`
		}
		Members []struct {
			ID         uint64
			Name       string
			PeerURLs   []string
			ClientURLs []string
		}
	}

	out := n.etcdctl("member", "list", "-w", "json")
	if err := json.Unmarshal([]byte(out), &theirs); err != nil {
		t.Fatal(err)
	}

	ours := awaitVoters(t, n, 2)
	for i, m := range theirs.Members {
		if o := ours[i]; o.GetId() != m.ID || o.GetHostname() != m.Name || !slices.Equal(o.GetPeerUrls(), m.PeerURLs) ||
			!slices.Equal(o.GetClientUrls(), m.ClientURLs) {
			t.Errorf("etcdctl says %+v, the API %v", m, o)
		}
	}

	if len(theirs.Members) != len(ours) {
		t.Errorf("etcdctl lists %d members, the API %d", len(theirs.Members), len(ours))
	}

	local, err := safe.StateGetByID[*etcd.Member](t.Context(), n.state, etcd.LocalMemberID)
	if err != nil {
		t.Fatal(err)
	}

	if id := fmt.Sprintf("%016x", theirs.Header.MemberID); id != local.TypedSpec().MemberID {
		t.Errorf("etcdctl reached member %s, the resource says %s", id, local.TypedSpec().MemberID)
	}
}

func (n *node) etcdctl(args ...string) string {
	dir := filepath.Join(n.Root, "system", "secrets", "etcd")

	return n.ns.Exec("env", append([]string{
		"ETCDCTL_API=3", "etcdctl", "--endpoints", "https://" + n.addr + ":2379", "--cacert", filepath.Join(dir, "ca.crt"),
		"--cert", filepath.Join(dir, "admin.crt"), "--key", filepath.Join(dir, "admin.key"),
	}, args...)...)
}

func maintenance(t *testing.T, first, second *node) {
	t.Helper()

	answer, err := first.api.EtcdStatus(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}

	st := answer.GetMessages()[0].GetMemberStatus()
	if st.GetMemberId() == 0 || st.GetLeader() == 0 || st.GetDbSize() == 0 || st.GetRaftAppliedIndex() == 0 || st.GetIsLearner() {
		t.Errorf("status: %v", st)
	}

	for _, n := range []*node{first, second} {
		forfeit, err := n.api.EtcdForfeitLeadership(t.Context(), &machine.EtcdForfeitLeadershipRequest{})
		if err != nil {
			t.Fatal(err)
		}

		if next := forfeit.GetMessages()[0].GetMember(); next == n.name {
			t.Errorf("%s handed its leadership to itself", n.name)
		}
	}

	if _, err = first.api.EtcdDefragment(t.Context(), &emptypb.Empty{}); err != nil {
		t.Error(err)
	}

	if alarms, err := first.api.EtcdAlarmList(t.Context(), &emptypb.Empty{}); err != nil || len(alarms.GetMessages()[0].GetMemberAlarms()) != 0 {
		t.Errorf("alarms: %v %v", alarms, err)
	}

	for range 10 { // whether all of a stream comes must not be left to chance
		snapshot(t, first)
	}
}

func snapshot(t *testing.T, n *node) {
	t.Helper()

	stream, err := n.api.EtcdSnapshot(t.Context(), &machine.EtcdSnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}

	path := filepath.Join(t.TempDir(), "db.snapshot")

	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	for {
		data, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}

		if err != nil {
			t.Fatalf("the stream does not end well: %v", err)
		}

		if _, err = file.Write(data.GetBytes()); err != nil {
			t.Fatal(err)
		}
	}

	if out := n.etcdctl("snapshot", "status", path, "-w", "json"); !strings.Contains(out, `"totalKey"`) {
		t.Errorf("etcdctl does not take the snapshot: %s", out)
	}
}

// The daemon serves again at once and etcd rejoins with its data.
func killed(t *testing.T, n *node) {
	t.Helper()

	before := awaitVoters(t, n, 2)

	n.Kill()

	start := time.Now()

	n.Launch()
	n.AwaitServing()

	if away := time.Since(start); away > servingAgain {
		t.Errorf("serving %s after the start, want at most %s", away, servingAgain)
	} else {
		t.Logf("serving %s after the start", away)
	}

	// Without a configuration for longer than a restarted daemon holds its answers back, and until the member is back.
	stopLooking := n.alwaysHasMember(t)

	time.Sleep(2 * time.Second) // the time that the others take
	n.publishAgain(t)

	// A caller waits for the member instead of being refused.
	if _, err := n.api.EtcdStatus(t.Context(), &emptypb.Empty{}); err != nil {
		t.Errorf("status right after the restart: %v", err)
	}

	stopLooking()

	after := awaitVoters(t, n, 2)
	t.Logf("member back %s after the start", time.Since(start))

	for i := range after {
		if after[i].String() != before[i].String() {
			t.Errorf("members were %v, are %v", before, after)
		}
	}
}

// alwaysHasMember reads the member of a restarted daemon until the function is called.
func (n *node) alwaysHasMember(t *testing.T) (stop func()) {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)

	go func() {
		for ctx.Err() == nil {
			if _, err := safe.StateGetByID[*etcd.Member](ctx, n.state, etcd.LocalMemberID); err != nil && ctx.Err() == nil {
				ended <- err

				return
			}
		}

		ended <- nil
	}()

	return func() {
		t.Helper()
		cancel()

		if err := <-ended; err != nil {
			t.Errorf("the member was away: %v", err)
		}
	}
}

func (n *node) publishAgain(t *testing.T) {
	t.Helper()

	for _, again := range n.owned {
		again(t)
	}
}

// Who leaves right after the other one came back is not refused for etcd's seconds of probation.
func leaves(t *testing.T, stays, goes *node) {
	t.Helper()

	if _, err := goes.api.EtcdLeaveCluster(t.Context(), &machine.EtcdLeaveClusterRequest{}); err != nil {
		t.Fatal(err)
	}

	if left := awaitVoters(t, stays, 1); left[0].GetHostname() != stays.name {
		t.Errorf("%s is the one that left: %v", stays.name, left)
	}

	_, err := stays.api.EtcdLeaveCluster(t.Context(), &machine.EtcdLeaveClusterRequest{})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("the last member leaves: %v", err)
	}

	// A crash is no wish to join.
	goes.Restart()
	goes.publishAgain(t)
	kittest.AwaitNoError(t, 20*time.Second, func() error {
		_, err := goes.api.EtcdStatus(t.Context(), &emptypb.Empty{})
		if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "service etcdd restart") {
			return fmt.Errorf("status of a node that left: %w", err)
		}

		return nil
	})

	if _, err := safe.StateGetByID[*etcd.Member](t.Context(), goes.state, etcd.LocalMemberID); !state.IsNotFoundError(err) {
		t.Errorf("a node that left has a member: %v", err)
	}

	if err := goes.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	goes.Launch()
	goes.AwaitServing()
	goes.publishAgain(t)
	awaitVoters(t, goes, 2)
}

func newNode(t *testing.T, ca *issuer, name, addr string) *node {
	t.Helper()

	n := &node{ns: kittest.NetNS(t), name: name, addr: addr, issuer: ca}
	n.Daemon = kittest.Start(t, "github.com/dactyl-os/dactyl/services/etcdd/cmd/etcdd", kittest.Options{NS: n.ns, Config: machineConfig})
	n.state = state.WrapCore(client.NewAdapter(v1alpha1.NewStateClient(n.Conn())))
	n.api = machine.NewMachineServiceClient(n.Conn())

	return n
}

// publish plays the owners of what etcdd reads; again after a restart, as the store is in memory.
func (n *node) publish(t *testing.T, other *node) {
	t.Helper()

	certs := secrets.EtcdCertsSpec{
		Etcd: n.issuer.issue(t, n.addr), EtcdPeer: n.issuer.issue(t, n.addr), EtcdAdmin: n.issuer.issue(t, n.addr),
	}

	n.owned = append(n.owned, func(t *testing.T) {
		t.Helper()

		host := network.NewHostnameStatus(network.NamespaceName, network.HostnameID)
		host.TypedSpec().Hostname = n.name
		addrs := network.NewNodeAddress(network.NamespaceName, network.NodeAddressRoutedID)
		addrs.TypedSpec().Addresses = []netip.Prefix{netip.MustParsePrefix("10.98.0.1/24"), netip.MustParsePrefix(n.addr + "/24")}
		onLo := network.NewAddressStatus(network.NamespaceName, "lo/10.98.0.1/24")
		onLo.TypedSpec().Address, onLo.TypedSpec().LinkName = netip.MustParsePrefix("10.98.0.1/24"), "lo"
		member := cluster.NewMember(cluster.NamespaceName, other.name)
		member.TypedSpec().Addresses = []netip.Addr{netip.MustParseAddr(other.addr)}
		member.TypedSpec().MachineType = enums.MachineTypeControlPlane
		keys := secrets.NewEtcdCerts(secrets.NamespaceName, secrets.EtcdID)
		*keys.TypedSpec() = certs
		root := secrets.NewEtcdRoot(secrets.NamespaceName, secrets.EtcdRootID)
		root.TypedSpec().EtcdCA = &pki.CertificateAndKey{Crt: n.issuer.pem}

		for _, r := range []resource.Resource{onLo, host, addrs, member, keys, root} {
			if err := n.state.Create(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
	})
	n.owned[len(n.owned)-1](t)
}

type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}

	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}

	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}

	return &issuer{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (i *issuer) issue(t *testing.T, addr string) *pki.CertificateAndKey {
	t.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: addr},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(addr)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}

	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}

	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}

	return &pki.CertificateAndKey{
		Crt: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
	}
}
