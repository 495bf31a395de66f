package gateway_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/api/v1alpha1"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/gateway/internal/route"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// stranger is how a client sets up a node: it shows nothing and believes the fingerprint, if that.
func stranger() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

func TestMaintenanceServesWhatSetupNeeds(t *testing.T) {
	n := newNode(t, "127.0.0.2", "0")
	n.startOwners(t)
	n.startGateway(t)

	pair := fake.NewAuthority(t).Server(t, "maintenance")
	fake.PublishMaintenance(t, n.trustd, pair)

	conn := n.dial(t, stranger())
	if err := version(within(t, 10*time.Second), conn); err != nil {
		t.Fatal(err)
	}

	block, _ := pem.Decode(pair.Crt)
	fingerprint := strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(block.Bytes)), " ", ":")
	await(t, 5*time.Second, func() error { return contains(n.gateway.log, fingerprint) })

	for _, method := range publicMethods(t) {
		err := call(within(t, 20*time.Second), conn, method, request(t, method.Name, openType))

		switch {
		// configd holds resources alone in this test.
		case method.Maintenance && method.Owner == "configd":
			if status.Code(err) != codes.Unimplemented || strings.Contains(err.Error(), "maintenance") {
				t.Errorf("%s: %v", method.Name, err)
			}
		case method.Maintenance && err != nil:
			t.Errorf("%s: %v", method.Name, err)
		case !method.Maintenance:
			wantCode(t, err, codes.Unimplemented, "maintenance mode")
		}
	}

	for _, needed := range []string{
		"/machine.MachineService/Version", "/machine.MachineService/ApplyConfiguration", "/machine.MachineService/GenerateConfiguration",
		"/machine.MachineService/MetaWrite", route.StateService + "Get", route.StateService + "List", route.StateService + "Watch",
	} {
		if !access.Methods()[needed].Maintenance {
			t.Errorf("%s is not open in maintenance mode", needed)
		}
	}
}

func TestMaintenanceHidesSecretsAndForwardsNothing(t *testing.T) {
	n := newNode(t, "127.0.0.2", "0")
	n.startOwners(t)
	fake.PublishMaintenance(t, n.trustd, fake.NewAuthority(t).Server(t, "maintenance"))
	n.startGateway(t)

	conn := n.dial(t, stranger())

	for _, definition := range resource.Definitions() {
		if definition.Sensitive {
			_, err := v1alpha1.NewStateClient(conn).Get(within(t, 10*time.Second, access.RoleKey, access.Admin),
				&v1alpha1.GetRequest{Type: definition.Type})
			wantCode(t, err, codes.PermissionDenied, "sensitive")
		}
	}

	wantCode(t, version(within(t, 10*time.Second, "nodes", "127.0.0.3"), conn), codes.FailedPrecondition, "without nodes")

	var header metadata.MD
	if _, err := v1alpha1.NewStateClient(conn).Get(within(t, 10*time.Second), &v1alpha1.GetRequest{Type: openType}, grpc.Header(&header)); err != nil ||
		!slices.Equal(header[fake.RolesKey], []string{access.Reader}) {
		t.Errorf("roles at the owner: %v, %v", header[fake.RolesKey], err)
	}
}

// A node that gets an address renews its certificate: whoever is connected stays.
func TestMaintenanceConnectionOutlivesItsCertificate(t *testing.T) {
	n := newNode(t, "127.0.0.2", "0")
	n.startOwners(t)
	n.startGateway(t)

	authority := fake.NewAuthority(t)
	fake.PublishMaintenance(t, n.trustd, authority.Server(t, "maintenance"))

	conn := n.dial(t, stranger())
	if err := version(within(t, 10*time.Second), conn); err != nil {
		t.Fatal(err)
	}

	renewed := authority.Server(t, "127.0.0.2")
	fake.RenewMaintenance(t, n.trustd, renewed)

	block, _ := pem.Decode(renewed.Crt)
	fingerprint := strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(block.Bytes)), " ", ":")
	await(t, 5*time.Second, func() error { return contains(n.gateway.log, fingerprint) })

	if err := version(within(t, 10*time.Second), conn); err != nil {
		t.Error(err)
	}
}

// TestConfigurationEndsMaintenance: whoever came in without a certificate is out, streams included.
func TestConfigurationEndsMaintenance(t *testing.T) {
	authority := fake.NewAuthority(t)
	n := newNode(t, "127.0.0.2", "0")
	n.startOwners(t)
	fake.PublishMaintenance(t, n.trustd, authority.Server(t, "maintenance"))
	n.startGateway(t)

	conn := n.dial(t, stranger())
	stream, err := v1alpha1.NewStateClient(conn).Watch(within(t, 30*time.Second, fake.StallKey, "1"), &v1alpha1.WatchRequest{Type: openType})
	if err != nil {
		t.Fatal(err)
	}

	for range fake.StreamLength {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}

	fake.PublishConfig(t, n.configd)
	fake.PublishAPI(t, n.trustd, authority.Server(t, n.address), fake.Pair{}, authority)

	_, err = stream.Recv()
	wantCode(t, err, codes.Unauthenticated, "left maintenance mode")
	wantCode(t, version(within(t, 10*time.Second), conn), codes.Unauthenticated, "client certificate")

	if err := version(within(t, 10*time.Second), n.client(t, authority, access.Reader)); err != nil {
		t.Error(err)
	}
}

// TestMaintenanceNeedsTwoWitnesses: trustd alone cannot open a node that has a configuration.
func TestMaintenanceNeedsTwoWitnesses(t *testing.T) {
	authority := fake.NewAuthority(t)
	n := newNode(t, "127.0.0.2", "0")
	n.startOwners(t)
	fake.PublishConfig(t, n.configd)
	fake.PublishAPI(t, n.trustd, authority.Server(t, n.address), fake.Pair{}, authority)
	n.startGateway(t)

	conn := n.client(t, authority, access.Admin)
	if err := version(within(t, 10*time.Second), conn); err != nil {
		t.Fatal(err)
	}

	fake.PublishMaintenance(t, n.trustd, authority.Server(t, "maintenance"))
	fake.WithdrawAPI(t, n.trustd)

	// The gateway asks configd every half second; three times is a no.
	for deadline := time.Now().Add(1500 * time.Millisecond); time.Now().Before(deadline); {
		if err := version(within(t, 10*time.Second), n.dial(t, stranger())); err == nil {
			t.Fatal("a stranger was let in")
		}
	}

	if err := version(within(t, 10*time.Second), conn); err != nil {
		t.Errorf("the administrator was put out: %v", err)
	}
}

// TestUnreadableConfigurationKeepsShut: configd saying nothing is not configd saying that there is no configuration, neither at
// the start nor later.
func TestUnreadableConfigurationKeepsShut(t *testing.T) {
	n := newNode(t, "127.0.0.2", "0")
	n.startOwners(t)
	fake.WithdrawType(t, n.configd)
	fake.PublishMaintenance(t, n.trustd, fake.NewAuthority(t).Server(t, "maintenance"))
	n.startGateway(t)

	// Three times as long as the gateway waits before it asks configd again.
	if err := version(within(t, 1500*time.Millisecond), n.dial(t, stranger())); err == nil {
		t.Fatal("a stranger was let in")
	}

	fake.PublishNone(t, n.configd)

	conn := n.dial(t, stranger())
	if err := version(within(t, 10*time.Second), conn); err != nil {
		t.Fatalf("the door is shut without a configuration: %v", err)
	}

	fake.WithdrawType(t, n.configd)
	await(t, 5*time.Second, func() error { return contains(n.gateway.log, "maintenance mode ends") })

	wantCode(t, version(within(t, 10*time.Second), conn), codes.Unauthenticated, "cannot read")

	if err := version(within(t, 1500*time.Millisecond), n.dial(t, stranger())); err == nil {
		t.Error("a stranger was let in again")
	}
}

// TestRotationKeepsConnections: new certificates serve new connections, old connections go on while their authority is
// accepted.
func TestRotationKeepsConnections(t *testing.T) {
	old, next := fake.NewAuthority(t), fake.NewAuthority(t)
	n := controlPlane(t, old, "127.0.0.2", "0")

	conn := n.client(t, old, access.Admin)
	if err := version(within(t, 10*time.Second), conn); err != nil {
		t.Fatal(err)
	}

	stream, err := machine.NewMachineServiceClient(conn).Dmesg(within(t, time.Minute, fake.StallKey, "1"), &machine.DmesgRequest{})
	if err != nil {
		t.Fatal(err)
	}

	for range fake.StreamLength {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}

	fake.PublishAPI(t, n.trustd, next.Server(t, n.address), next.Client(t, access.Impersonator), old, next)
	await(t, 10*time.Second, func() error { return version(within(t, time.Second), n.client(t, next, access.Admin)) })

	if err := version(within(t, 10*time.Second), conn); err != nil {
		t.Errorf("old connection: %v", err)
	}

	fake.PublishAPI(t, n.trustd, next.Server(t, n.address), next.Client(t, access.Impersonator), next)

	_, err = stream.Recv()
	wantCode(t, err, codes.Unauthenticated, "unknown authority")

	// On this connection the client would be refused for ever: it is closed, so that one with a new certificate can be made.
	await(t, 10*time.Second, func() error {
		if state := conn.GetState(); state == connectivity.Ready {
			return errors.New("the connection is still there")
		}

		return nil
	})
}
