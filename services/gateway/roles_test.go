package gateway_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/gateway/internal/route"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

var allRoles = []string{access.Admin, access.Operator, access.Reader, access.EtcdBackup, access.Impersonator, "os:nonsense", ""}

// call makes one call of any method without knowing its messages.
func call(ctx context.Context, conn *grpc.ClientConn, method access.Method, request []byte) error {
	desc := &grpc.StreamDesc{ClientStreams: method.ClientStreaming, ServerStreams: method.ServerStreaming}

	stream, err := conn.NewStream(ctx, desc, method.Name, grpc.ForceCodecV2(raw.Codec{}))
	if err != nil {
		return err
	}

	if err := stream.SendMsg(raw.FromBytes(request)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}

	if err := stream.CloseSend(); err != nil {
		return err
	}

	for {
		err := stream.RecvMsg(new(raw.Frame))
		if errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return err
		}

		if !method.ServerStreaming {
			return nil
		}
	}
}

// request is an empty message, or for the resource API one that asks for a type.
func request(t testing.TB, method, typ string) []byte {
	t.Helper()

	var message proto.Message

	switch {
	case !strings.HasPrefix(method, route.StateService):
		return nil
	case strings.HasSuffix(method, "Create"):
		message = &v1alpha1.CreateRequest{Resource: &v1alpha1.Resource{Metadata: &v1alpha1.Metadata{Type: typ}}}
	case strings.HasSuffix(method, "Update"):
		message = &v1alpha1.UpdateRequest{NewResource: &v1alpha1.Resource{Metadata: &v1alpha1.Metadata{Type: typ}}}
	default:
		message = &v1alpha1.GetRequest{Type: typ}
	}

	data, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}

	return data
}

// publicMethods are those that somebody may call, and a fake owner answers here. What daemons say among themselves may be linked
// into this program and not into the gateway.
func publicMethods(t testing.TB) []access.Method {
	t.Helper()

	var methods []access.Method

	for _, method := range access.Methods() {
		if strings.HasPrefix(method.Name, "/grpc.") || strings.HasPrefix(method.Name, "/dactyl.") {
			continue
		}

		methods = append(methods, method)
	}

	if len(methods) < 55 {
		t.Fatalf("only %d methods in the descriptors", len(methods))
	}

	slices.SortFunc(methods, func(a, b access.Method) int { return strings.Compare(a.Name, b.Name) })

	return methods
}

// TestEveryMethodForEveryRole: what the descriptors say is what a client with such a certificate meets.
func TestEveryMethodForEveryRole(t *testing.T) {
	authority := fake.NewAuthority(t)
	n := newNode(t, "127.0.0.2", "0")
	n.startOwners(t)
	fake.PublishAPI(t, n.trustd, authority.Server(t, n.address), fake.Pair{}, authority)
	n.startGateway(t)

	for _, role := range allRoles {
		conn := n.client(t, authority, strings.Fields(role)...)

		for _, method := range publicMethods(t) {
			err := call(within(t, 20*time.Second), conn, method, request(t, method.Name, openType))
			allowed := slices.Contains(method.Roles, role)

			// These two hold resources for the gateway in this test and say themselves that they have no methods.
			if allowed && (method.Owner == "trustd" || method.Owner == "configd") && status.Code(err) == codes.Unimplemented {
				continue
			}

			if allowed && err != nil || !allowed && status.Code(err) != codes.PermissionDenied {
				t.Errorf("%s as %q: %v", method.Name, role, err)
			}

			if !allowed && err != nil && !strings.Contains(err.Error(), "not authorized") {
				t.Errorf("%s as %q: the reason is not told: %v", method.Name, role, err)
			}
		}
	}
}

const openType = "AddressStatuses.net.talos.dev"

// TestSensitiveTypesNeedAdmin: every sensitive type, read and watched.
func TestSensitiveTypesNeedAdmin(t *testing.T) {
	authority := fake.NewAuthority(t)
	n := newNode(t, "127.0.0.2", "0")
	fake.PublishAPI(t, n.trustd, authority.Server(t, n.address), fake.Pair{}, authority)
	n.startGateway(t)

	for _, definition := range resource.Definitions() {
		if !definition.Sensitive {
			continue
		}

		for _, role := range []string{access.Operator, access.Reader} {
			for _, verb := range []string{"Get", "List", "Watch"} {
				method := access.Methods()[route.StateService+verb]

				err := call(within(t, 20*time.Second), n.client(t, authority, role), method, request(t, method.Name, definition.Type))
				wantCode(t, err, codes.PermissionDenied, "sensitive")
			}
		}
	}
}

// TestRefusedAtTheHandshake: the client is told why in the terms of x509, as TLS allows.
func TestRefusedAtTheHandshake(t *testing.T) {
	authority, other := fake.NewAuthority(t), fake.NewAuthority(t)
	n := newNode(t, "127.0.0.2", "0")
	fake.PublishAPI(t, n.trustd, authority.Server(t, n.address), fake.Pair{}, authority)
	n.startOwners(t)
	n.startGateway(t)

	admin := pkix.Name{Organization: []string{access.Admin}}
	clientUsage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}

	for name, test := range map[string]struct {
		certificate func() fake.Pair
		alert, log  string
	}{
		"no certificate": {nil, "certificate required", "didn't provide a certificate"},
		"expired": {func() fake.Pair {
			return authority.Sign(t, &x509.Certificate{
				Subject: admin, ExtKeyUsage: clientUsage, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
			})
		}, "expired certificate", "expired"},
		"not yet valid": {func() fake.Pair {
			return authority.Sign(t, &x509.Certificate{
				Subject: admin, ExtKeyUsage: clientUsage, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour),
			})
		}, "expired certificate", "not yet valid"},
		"other authority": {func() fake.Pair { return other.Client(t, access.Admin) }, "unknown certificate authority", "unknown authority"},
		"server-only key usage": {func() fake.Pair {
			return authority.Sign(t, &x509.Certificate{Subject: admin, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		}, "bad certificate", "incompatible key usage"},
	} {
		t.Run(name, func(t *testing.T) {
			config := &tls.Config{RootCAs: authority.Pool(), ServerName: n.address}
			if test.certificate != nil {
				pair := test.certificate().TLS(t)
				// As a client that has but this one: Go's own selection would leave out what the server would refuse.
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
			}

			err := version(within(t, 10*time.Second), n.dial(t, config))
			wantCode(t, err, codes.Unavailable, test.alert)
			await(t, 5*time.Second, func() error { return contains(n.gateway.log, test.log) })
		})
	}
}

// TestForgedRoles: a header widens nothing.
func TestForgedRoles(t *testing.T) {
	authority := fake.NewAuthority(t)
	n := controlPlane(t, authority, "127.0.0.2", "0")
	reset := access.Methods()["/machine.MachineService/Reset"]
	ctx := within(t, 20*time.Second, access.RoleKey, access.Admin)

	wantCode(t, call(ctx, n.client(t, authority, access.Reader), reset, nil), codes.PermissionDenied, "os:reader")
	wantCode(t, call(ctx, n.client(t, authority), reset, nil), codes.PermissionDenied, "none")

	if err := call(ctx, n.client(t, authority, access.Impersonator), reset, nil); err != nil {
		t.Errorf("from another gateway: %v", err)
	}
}
