package gateway_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"
	"github.com/cosi-project/runtime/pkg/state/protobuf/server"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/durationpb"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

type house struct {
	state, run, address string
	daemons             map[string]*kittest.Daemon
	init                *ear
	admin               *grpc.ClientConn
	whole               map[string][]byte // what each file held when all was well
	id                  string            // the node's, in the cluster
	configured          int               // how much the gateway had to say until then
}

func build(t *testing.T) *house {
	t.Helper()

	h := &house{state: t.TempDir(), run: short(t), daemons: map[string]*kittest.Daemon{}, init: &ear{}, whole: map[string][]byte{}}

	listener, err := fake.Listen(h.run, "init")
	if err != nil {
		t.Fatal(err)
	}

	init := grpc.NewServer()
	initv1.RegisterInitServiceServer(init, h.init)
	machine.RegisterMachineServiceServer(init, h.init)
	v1alpha1.RegisterStateServer(init, server.NewState(namespaced.NewState(inmem.Build)))

	go init.Serve(listener) //nolint:errcheck // ends with the test

	t.Cleanup(init.Stop)
	h.network(t)

	h.address = free(t)

	for name, opts := range map[string]kittest.Options{
		"configd": {}, "trustd": {}, "discoveryd": {NS: kittest.NetNS(t)}, "gateway": {Env: []string{"DACTYL_LISTEN=" + h.address}},
	} {
		opts.Name, opts.RunDir, opts.StateDir = name, h.run, h.state
		h.daemons[name] = kittest.Launched(t, "../"+name+"/cmd/"+name, opts)
	}

	for _, d := range h.daemons {
		d.AwaitServing()
	}

	h.configure(t)
	h.certify(t)

	if outcome, err := h.settled(t); err != nil || outcome != "as it was" {
		t.Fatalf("before any damage: %s, %v", outcome, err)
	}

	h.remember(t)
	h.id = h.identity(t)
	h.configured = len(h.daemons["gateway"].Log())

	return h
}

func (h *house) network(t *testing.T) {
	t.Helper()

	st := fake.State(t, h.run, "networkd")
	name := network.NewHostnameStatus(network.NamespaceName, network.HostnameID)
	name.TypedSpec().Hostname = "house"

	if err := st.Create(t.Context(), name); err != nil {
		t.Fatal(err)
	}

	for _, id := range []string{network.NodeAddressCurrentID, network.NodeAddressRoutedID, network.NodeAddressAccumulativeID, network.NodeAddressDefaultID} {
		address := network.NewNodeAddress(network.NamespaceName, id)
		address.TypedSpec().Addresses = []netip.Prefix{netip.MustParsePrefix("10.5.0.2/24")}

		if err := st.Create(t.Context(), address); err != nil {
			t.Fatal(err)
		}
	}
}

func (h *house) configure(t *testing.T) {
	t.Helper()

	configd := machine.NewMachineServiceClient(h.daemons["configd"].Conn())

	if _, err := configd.MetaWrite(t.Context(), &machine.MetaWriteRequest{Key: 0x40, Value: []byte("kept")}); err != nil {
		t.Fatal(err)
	}

	made, err := configd.GenerateConfiguration(t.Context(), &machine.GenerateConfigurationRequest{
		ConfigVersion: "v1alpha1",
		ClusterConfig: &machine.ClusterConfig{Name: "house", ControlPlane: &machine.ControlPlaneConfig{Endpoint: "https://127.0.0.1:6443"}},
		MachineConfig: &machine.MachineConfig{Type: machine.MachineConfig_TYPE_CONTROL_PLANE},
	})
	if err != nil {
		t.Fatal(err)
	}

	if _, err = configd.ApplyConfiguration(t.Context(), &machine.ApplyConfigurationRequest{Data: made.GetMessages()[0].GetData()[0]}); err != nil {
		t.Fatal(err)
	}
}

func (h *house) certify(t *testing.T) {
	t.Helper()

	var answer *machine.GenerateClientConfigurationResponse

	kittest.AwaitNoError(t, 20*time.Second, func() (err error) {
		answer, err = machine.NewMachineServiceClient(h.daemons["trustd"].Conn()).GenerateClientConfiguration(t.Context(),
			&machine.GenerateClientConfigurationRequest{Roles: []string{"os:admin"}, CrtTtl: durationpb.New(24 * time.Hour)})

		return err
	})

	made := answer.GetMessages()[0]

	pair, err := tls.X509KeyPair(made.GetCrt(), made.GetKey())
	if err != nil {
		t.Fatal(err)
	}

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(made.GetCa())
	h.admin = h.connect(t, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}})
}

func (h *house) connect(t *testing.T, config *tls.Config) *grpc.ClientConn {
	t.Helper()

	conn, err := grpc.NewClient("passthrough:///"+h.address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

func (h *house) remember(t *testing.T) {
	t.Helper()

	kittest.AwaitNoError(t, 20*time.Second, func() error {
		for _, path := range h.files() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}

			h.whole[path] = data
		}

		return nil
	})
}

func (h *house) files() []string {
	var paths []string

	for _, name := range []string{"config.yaml", "config.good", "meta", "discoveryd/node-identity.yaml", "discoveryd/node-identity.good"} {
		paths = append(paths, filepath.Join(h.state, name))
	}

	for _, name := range []string{"trustd/resources", "discoveryd/records"} {
		paths = append(paths, filepath.Join(h.run, name))
	}

	return paths
}

func (h *house) restore(t *testing.T, boot bool) {
	t.Helper()

	entries, err := os.ReadDir(h.state)
	if err != nil {
		t.Fatal(err)
	}

	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(h.state, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}

	for path, data := range h.whole {
		if boot && strings.HasPrefix(path, h.run) {
			err = os.RemoveAll(path)
		} else {
			err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600))
		}

		if err != nil {
			t.Fatal(err)
		}
	}

	if boot {
		if err := os.RemoveAll(filepath.Join(h.run, "started")); err != nil {
			t.Fatal(err)
		}
	}
}

func (h *house) identity(t *testing.T) string {
	t.Helper()

	discoveryd := state.WrapCore(client.NewAdapter(v1alpha1.NewStateClient(h.daemons["discoveryd"].Conn())))

	id, err := safe.StateGetByID[*cluster.Identity](within(t, 20*time.Second), discoveryd, cluster.LocalIdentityID)
	if err != nil {
		t.Fatal(err)
	}

	return id.TypedSpec().NodeID
}

func short(t *testing.T) string {
	t.Helper()

	dir, err := os.MkdirTemp("", "kit")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { os.RemoveAll(dir) })

	return dir
}

func free(t *testing.T) string {
	t.Helper()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	return listener.Addr().String()
}
