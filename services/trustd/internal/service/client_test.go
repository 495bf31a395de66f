package service_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	keys "github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/trustd/internal/service"
)

func TestGenerateClientConfiguration(t *testing.T) {
	t.Parallel()

	st, root := controlPlane(t)

	now := time.Now()
	server := &service.Machine{Local: st, State: st, Now: func() time.Time { return now }}

	answer, err := server.GenerateClientConfiguration(t.Context(), &machine.GenerateClientConfigurationRequest{
		Roles: []string{"os:reader"}, CrtTtl: durationpb.New(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}

	made := answer.GetMessages()[0]

	file, err := clientconfig.Parse(made.GetTalosconfig())
	if err != nil {
		t.Fatal(err)
	}

	context, err := file.Current("reader@forge")
	if err != nil {
		t.Fatal(err)
	}

	ca, crt, key, err := context.PEM()
	if err != nil || string(ca) != string(root.Crt) || string(crt) != string(made.GetCrt()) || string(key) != string(made.GetKey()) {
		t.Errorf("the file differs from the answer (%v)", err)
	}

	if _, err := context.TLS(); err != nil {
		t.Error(err)
	}

	cert, err := keys.ParseCertificate(crt)
	if err != nil {
		t.Fatal(err)
	}

	if !slices.Equal(cert.Subject.Organization, []string{"os:reader"}) || cert.NotAfter.Sub(now).Round(time.Minute) != time.Hour {
		t.Errorf("certificate for %v until %s", cert.Subject, cert.NotAfter)
	}
}

func TestGenerateClientConfigurationRefusals(t *testing.T) {
	t.Parallel()

	st, _ := controlPlane(t)
	server := &service.Machine{Local: st, State: st, Now: time.Now}

	for _, test := range []struct {
		request *machine.GenerateClientConfigurationRequest
		want    string
	}{
		{&machine.GenerateClientConfigurationRequest{Roles: []string{"os:impersonator"}}, `unknown role "os:impersonator": the roles are os:admin, os:operator, os:reader, os:etcd:backup`},
		{&machine.GenerateClientConfigurationRequest{Roles: []string{"os:admin", "root"}}, `unknown role "root": the roles are os:admin, os:operator, os:reader, os:etcd:backup`},
		{&machine.GenerateClientConfigurationRequest{CrtTtl: durationpb.New(-time.Second)}, "crt_ttl must be positive, it is -1s"},
	} {
		if _, err := server.GenerateClientConfiguration(t.Context(), test.request); status.Convert(err).Message() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}

	root, err := st.Get(t.Context(), secrets.NewOSRoot(secrets.NamespaceName, secrets.OSRootID).Metadata())
	if err != nil {
		t.Fatal(err)
	}

	root.(*secrets.OSRoot).TypedSpec().IssuingCA.Key = nil
	if err := st.Update(t.Context(), root); err != nil {
		t.Fatal(err)
	}

	_, err = server.GenerateClientConfiguration(t.Context(), &machine.GenerateClientConfigurationRequest{})
	if want := "client configurations are made on control plane nodes only: this machine is a worker"; status.Convert(err).Message() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
