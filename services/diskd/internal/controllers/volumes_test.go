package controllers

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/proto/resource/config"
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

// A configd that does not answer is asked again, and what it said before holds.
func TestReadConfig(t *testing.T) {
	c := &Volumes{Log: slog.New(slog.DiscardHandler)}

	for i, step := range []struct {
		answer         answers
		unsure, config bool
	}{
		{answers{err: context.DeadlineExceeded}, true, false},
		{answers{data: "version: v1alpha1\nmachine: {install: {disk: /dev/vda}}\n"}, false, true},
		{answers{err: errors.New("configd restarts")}, true, true},
		{answers{data: "version: v1alpha1\nmachine: {install: {disk: /dev/vda}}\n"}, false, true},
	} {
		if err := c.readConfig(t.Context(), step.answer); err != nil || c.unsure != step.unsure || (c.config != nil) != step.config {
			t.Errorf("step %d: unsure %v, config %v, %v", i, c.unsure, c.config, err)
		}
	}
}
