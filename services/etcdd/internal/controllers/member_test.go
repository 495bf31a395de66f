package controllers

import (
	"testing"

	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"

	"github.com/dactyl-os/dactyl/proto/resource/block"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
)

// A member that starts before its disk is mounted would not find its data, and what it writes would be lost.
func TestWaitsForTheDisk(t *testing.T) {
	st := state.WrapCore(namespaced.NewState(inmem.Build))
	onDisk, elsewhere := &Member{OnDisk: true}, &Member{}

	wait := func(want string) {
		t.Helper()

		if got, err := onDisk.disk(t.Context(), st); err != nil || got != want {
			t.Errorf("%q %v, want %q", got, err, want)
		}

		if got, err := elsewhere.disk(t.Context(), st); err != nil || got != "" {
			t.Errorf("not on a machine: %q %v", got, err)
		}
	}

	wait("waiting for EPHEMERAL")

	status := block.NewVolumeStatus(block.NamespaceName, "EPHEMERAL")
	status.TypedSpec().Phase = enums.VolumePhasePrepared

	if err := st.Create(t.Context(), status); err != nil {
		t.Fatal(err)
	}

	wait("waiting for EPHEMERAL, which is prepared")

	status.TypedSpec().Phase = enums.VolumePhaseReady

	if err := st.Update(t.Context(), status); err != nil {
		t.Fatal(err)
	}

	wait("")
}
