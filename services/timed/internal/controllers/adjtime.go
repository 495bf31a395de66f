package controllers

import (
	"context"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	timeres "github.com/dactyl-os/dactyl/proto/resource/time"

	"github.com/dactyl-os/dactyl/services/kit/reconcile"
	"github.com/dactyl-os/dactyl/services/timed/internal/clock"
)

// adjtimeInterval is how often the kernel's view of the clock is published.
const adjtimeInterval = 30 * time.Second

// Adjtime publishes the kernel's view of the clock.
//
// Inputs: the kernel. Output: AdjtimeStatus.
type Adjtime struct{ Read func() (clock.Status, error) }

// Name is the owner of the outputs.
func (*Adjtime) Name() string { return "time.AdjtimeController" }

// Inputs of the controller.
func (*Adjtime) Inputs() []controller.Input { return nil }

// Outputs of the controller.
func (*Adjtime) Outputs() []controller.Output {
	return []controller.Output{{Type: timeres.AdjtimeStatusType, Kind: controller.OutputExclusive}}
}

// Run publishes until ctx ends.
func (c *Adjtime) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Timed(ctx, r, nil, func() (time.Duration, error) { return adjtimeInterval, c.publish(ctx, r) })
}

func (c *Adjtime) publish(ctx context.Context, w controller.Writer) error {
	s, err := c.Read()
	if err != nil {
		return err
	}

	id := timeres.NewAdjtimeStatus(timeres.NamespaceName, timeres.AdjtimeStatusID)

	return safe.WriterModify(ctx, w, id, func(r *timeres.AdjtimeStatus) error {
		*r.TypedSpec() = timeres.AdjtimeStatusSpec{
			Offset: s.Offset, FrequencyAdjustmentRatio: s.FrequencyRatio, MaxError: s.MaxError, EstError: s.EstError,
			Status: s.Flags, Constant: s.Constant, SyncStatus: s.Synced, State: s.State,
		}

		return nil
	})
}
