package controllers

import (
	"context"
	"log/slog"
	"testing"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"

	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

// answers plays configd: it gives a configuration, or an error.
type answers struct {
	controller.Reader

	data string
	err  error
}

func (a answers) Get(context.Context, resource.Pointer, ...state.GetOption) (resource.Resource, error) {
	res := config.NewMachineConfig(config.NamespaceName, config.ActiveID)
	res.TypedSpec().Data = []byte(a.data)
	res.Metadata().SetVersion(resource.VersionUndefined.Next())

	return res, a.err
}

// What configd said before holds until it says something else, whatever it counts: versions start anew with it.
func TestReadConfig(t *testing.T) {
	c := &Volumes{Log: slog.New(slog.DiscardHandler)}
	silent := answers{err: &router.UnknownError{Type: config.MachineConfigType}}

	for i, step := range []struct {
		answer answers
		disk   string
		wrong  bool
	}{
		{answer: silent},
		{answer: answers{data: "version: v1alpha1\nmachine: {install: {disk: /dev/vda}}\n"}, disk: "/dev/vda"},
		{answer: silent, disk: "/dev/vda"},
		{answer: answers{data: "version: v1alpha1\nmachine: {install: {disk: /dev/vdb}}\n"}, disk: "/dev/vdb"},
		{answer: answers{data: "version: v1alpha1\nmachine: {nonsense: 1}\n"}, wrong: true},
		{answer: answers{data: "version: v1alpha1\nmachine: {install: {disk: /dev/vda}}\n"}, disk: "/dev/vda"},
		{answer: answers{err: inmem.ErrNotFound(config.NewMachineConfig(config.NamespaceName, config.ActiveID).Metadata())}},
	} {
		if err := c.readConfig(t.Context(), step.answer); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}

		disk := ""
		if c.config != nil {
			disk = c.config.Install.Disk
		}

		if disk != step.disk || (c.err != nil) != step.wrong {
			t.Errorf("step %d: disk %q, %v", i, disk, c.err)
		}
	}
}
