package endpoint_test

import (
	"context"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/gateway/internal/endpoint"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

func TestConfiguredChecksWhatItGets(t *testing.T) {
	authority := fake.NewAuthority(t)
	server, client := endpoint.PEM(authority.Server(t, "127.0.0.1")), endpoint.PEM(authority.Client(t, access.Impersonator))

	for name, make := range map[string]func() (*endpoint.Material, error){
		"no server": func() (*endpoint.Material, error) {
			return endpoint.Configured(endpoint.PEM{}, client, [][]byte{authority.PEM})
		},
		"no authority":  func() (*endpoint.Material, error) { return endpoint.Configured(server, client, nil) },
		"bad authority": func() (*endpoint.Material, error) { return endpoint.Configured(server, client, [][]byte{[]byte("x")}) },
		"bad client": func() (*endpoint.Material, error) {
			return endpoint.Configured(server, endpoint.PEM{Crt: client.Crt, Key: server.Key}, [][]byte{authority.PEM})
		},
		"no maintenance certificate": func() (*endpoint.Material, error) { return endpoint.Unconfigured(endpoint.PEM{}) },
	} {
		if material, err := make(); err == nil {
			t.Errorf("%s: got %v", name, material)
		}
	}

	worker, err := endpoint.Configured(server, endpoint.PEM{}, [][]byte{authority.PEM})
	if err != nil || worker.Client != nil || worker.Maintenance() {
		t.Errorf("worker: %+v, %v", worker, err)
	}

	open, err := endpoint.Unconfigured(server)
	if err != nil || !open.Maintenance() || len(open.Fingerprint) != 32*3-1 {
		t.Errorf("maintenance: %+v, %v", open, err)
	}
}

func TestStoreWaitsAndTellsChanges(t *testing.T) {
	authority := fake.NewAuthority(t)
	store := endpoint.NewStore()

	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()

	if _, _, err := store.Await(short); err == nil {
		t.Error("an empty store has material")
	}

	if store.Forwards() {
		t.Error("an empty store forwards")
	}

	pair := endpoint.PEM(authority.Server(t, "127.0.0.1"))

	for i, want := range []bool{true, false} {
		material, err := endpoint.Configured(pair, endpoint.PEM{}, [][]byte{authority.PEM})
		if err != nil {
			t.Fatal(err)
		}

		if changed := store.Set(material); changed != want {
			t.Errorf("time %d: changed %t", i, changed)
		}
	}

	if _, serial, err := store.Await(t.Context()); err != nil || serial != 1 {
		t.Errorf("serial %d, %v", serial, err)
	}
}
