package gateway_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/cosi-project/runtime/api/v1alpha1"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

const certificatesVariable = "GATEWAY_TEST_CERTIFICATES"

// publishFrom makes a daemon publish certificates from files, as trustd does from what it issues.
func publishFrom(env *daemon.Env, dir string) error {
	res := secrets.NewAPICerts("secrets", secrets.APIID)
	res.TypedSpec().Server = &pki.CertificateAndKey{}

	ca := &pki.Certificate{}
	res.TypedSpec().AcceptedCAs = []*pki.Certificate{ca}

	for name, into := range map[string]*[]byte{
		"server.crt": &res.TypedSpec().Server.Crt, "server.key": &res.TypedSpec().Server.Key, "ca.crt": &ca.Crt,
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}

		*into = data
	}

	return env.Local().Create(context.Background(), res)
}

// besideKit is a gateway as an ordinary user beside daemons made by the kit, which know it by its pid.
func besideKit(t *testing.T, authority *fake.Authority) *node {
	t.Helper()
	kittest.RequireRoot(t)

	n := &node{address: "127.0.0.2", runDir: t.TempDir(), credential: &syscall.Credential{Uid: 50, Gid: 50}}
	n.listen(t, "0")

	figures, err := net.Listen("tcp", net.JoinHostPort(n.address, "0"))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = figures.Close() })

	n.metrics = figures.(*net.TCPListener) //nolint:forcetypeassert // of network tcp

	certificates := t.TempDir()
	pair := authority.Server(t, n.address)

	for name, data := range map[string][]byte{"server.crt": pair.Crt, "server.key": pair.Key, "ca.crt": authority.PEM} {
		if err := os.WriteFile(filepath.Join(certificates, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	for _, name := range []string{"init", "networkd", "trustd"} {
		owner := exec.Command(os.Args[0], "--run-dir", n.runDir, "--state-dir", t.TempDir())
		kittest.Into(t, owner, name)
		start(t, owner, benchVariable+"="+name, certificatesVariable+"="+certificates)

		await(t, 10*time.Second, func() error {
			_, err := os.Stat(filepath.Join(n.runDir, name+".sock"))

			return err
		})
	}

	open(t, n.runDir, filepath.Dir(binary(t)))

	// As in a node: the sockets are there to be used, not to be listed.
	if err := os.Chmod(n.runDir, 0o711); err != nil {
		t.Fatal(err)
	}

	n.startGateway(t)

	return n
}

// TestBesideKitDaemons: the daemons' own walls, made by the kit, let the gateway through as what it is: it reads its
// certificates in its own name, and its callers have their roles there and no more.
func TestBesideKitDaemons(t *testing.T) {
	authority := fake.NewAuthority(t)
	n := besideKit(t, authority)
	reader := n.client(t, authority, access.Reader)
	resources := v1alpha1.NewStateClient(reader)

	await(t, 10*time.Second, func() error { return version(within(t, time.Second), reader) })

	if _, err := resources.Get(within(t, 10*time.Second),
		&v1alpha1.GetRequest{Namespace: "network", Type: network.AddressStatusType, Id: "eth0/10.5.7.1/24"}); err != nil {
		t.Error(err)
	}

	_, err := resources.Get(within(t, 10*time.Second),
		&v1alpha1.GetRequest{Namespace: "secrets", Type: secrets.APICertsType, Id: secrets.APIID})
	wantCode(t, err, codes.PermissionDenied, "")

	_, err = machine.NewMachineServiceClient(reader).Hostname(within(t, 10*time.Second), &emptypb.Empty{})
	wantCode(t, err, codes.Unimplemented, "")

	// Behind the gateway's back there is the owner's own check.
	admin := v1alpha1.NewStateClient(n.client(t, authority, access.Admin))
	if _, err := admin.Get(within(t, 10*time.Second),
		&v1alpha1.GetRequest{Namespace: "secrets", Type: secrets.APICertsType, Id: secrets.APIID}); err != nil {
		t.Error(err)
	}
}
