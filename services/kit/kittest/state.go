package kittest

import (
	"strings"
	"testing"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"

	"github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

// State is the daemon's resources over its socket, as root's own tool; watches survive its restarts.
func (d *Daemon) State() state.State {
	d.t.Helper()

	if err := resource.Register(); err != nil {
		d.t.Fatal(err)
	}

	return state.WrapCore(router.Resume(client.NewAdapter(v1alpha1.NewStateClient(d.Conn()))))
}

// FailOnErrors fails the test at its end when the daemon has logged an error.
func (d *Daemon) FailOnErrors(t testing.TB) {
	t.Cleanup(func() {
		if _, rest, found := strings.Cut(d.Log(), "level=ERROR"); found {
			t.Errorf("errors in the log of %s:\n%.2000s", d.Name, rest)
		}
	})
}
