package controllers

import (
	"context"
	"log/slog"
	"os"

	"github.com/cosi-project/runtime/pkg/controller"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// Security publishes how the machine was started. There always is one: clients wait for it.
type Security struct {
	// SecureBoot is the path of the firmware's variable of that name (UEFI 2.10, 3.3: global variables); "" in a container, whose
	// kernel was started by somebody else.
	SecureBoot string
	Log        *slog.Logger
}

// Name is the owner of its resources.
func (*Security) Name() string { return "hostd.Security" }

// Inputs is empty: it does not change while the machine runs.
func (*Security) Inputs() []controller.Input { return nil }

// Outputs of the controller.
func (*Security) Outputs() []controller.Output {
	return []controller.Output{{Type: runtime.SecurityStateType, Kind: controller.OutputExclusive}}
}

// Run publishes once.
func (c *Security) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Each(ctx, r, func() error {
		state := runtime.SecurityStateSpec{SecureBoot: c.secureBoot()}

		return reconcile.Publish(ctx, reconcile.Publisher{Writer: r, Owner: c.Name()}, runtime.NewSecurityState, runtime.NamespaceName,
			map[string]runtime.SecurityStateSpec{runtime.SecurityStateID: state})
	})
}

// secureBoot reads the variable: four bytes of attributes, and one that is 1 when the firmware checked what it started.
func (c *Security) secureBoot() bool {
	if c.SecureBoot == "" {
		return false
	}

	variable, err := os.ReadFile(c.SecureBoot)
	if err != nil {
		c.Log.Debug("no secure boot", "error", err) // a BIOS has none

		return false
	}

	return len(variable) == 5 && variable[4] == 1
}
