// Package api serves configd's methods of MachineService.
package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/meta"
	"github.com/dactyl-os/dactyl/services/configd/internal/active"
	"github.com/dactyl-os/dactyl/services/configd/internal/metastore"
	"github.com/dactyl-os/dactyl/services/configd/internal/plan"
)

// Server answers configd's methods.
type Server struct {
	machine.UnimplementedMachineServiceServer

	// Active is nil when configd runs alone with a configuration file.
	Active *active.Active
	Meta   *metastore.Store
}

var errAlone = status.Error(codes.FailedPrecondition, "configd runs alone: change the file that --config names")

func planMode(mode machine.ApplyConfigurationRequest_Mode) (plan.Mode, error) {
	switch mode {
	case machine.ApplyConfigurationRequest_AUTO:
		return plan.Auto, nil
	case machine.ApplyConfigurationRequest_NO_REBOOT:
		return plan.NoReboot, nil
	case machine.ApplyConfigurationRequest_REBOOT:
		return plan.Reboot, nil
	case machine.ApplyConfigurationRequest_STAGED:
		return plan.Staged, nil
	case machine.ApplyConfigurationRequest_TRY:
		return plan.Try, nil
	default:
		return 0, status.Errorf(codes.InvalidArgument, "unknown mode %d", mode)
	}
}

// ApplyConfiguration validates and applies a configuration; errors of the request change nothing.
func (s *Server) ApplyConfiguration(ctx context.Context, req *machine.ApplyConfigurationRequest) (*machine.ApplyConfigurationResponse, error) {
	if s.Active == nil {
		return nil, errAlone
	}

	mode, err := planMode(req.GetMode())
	if err != nil {
		return nil, err
	}

	result, err := s.Active.Apply(ctx, active.Request{
		Data: req.GetData(), Mode: mode, DryRun: req.GetDryRun(), Timeout: req.GetTryModeTimeout().AsDuration(),
	})

	switch {
	case errors.Is(err, plan.ErrNothingToFallBackTo):
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, active.ErrRefused):
		return nil, status.Error(codes.InvalidArgument, err.Error())
	case err != nil:
		return nil, status.Error(codes.Internal, err.Error())
	}

	return &machine.ApplyConfigurationResponse{Messages: []*machine.ApplyConfiguration{{
		Warnings:    result.Warnings,
		Mode:        answeredMode(result.Action),
		ModeDetails: details(result, req.GetDryRun()),
	}}}, nil
}

// answeredMode tells what auto became.
func answeredMode(action plan.Action) machine.ApplyConfigurationRequest_Mode {
	switch action {
	case plan.ActivateForAWhile:
		return machine.ApplyConfigurationRequest_TRY
	case plan.Stage:
		return machine.ApplyConfigurationRequest_STAGED
	case plan.StageAndReboot:
		return machine.ApplyConfigurationRequest_REBOOT
	default:
		return machine.ApplyConfigurationRequest_NO_REBOOT
	}
}

func details(result *active.Result, dryRun bool) string {
	var text string

	switch result.Action {
	case plan.ActivateForAWhile:
		text = fmt.Sprintf("Applied configuration for %s: apply it again with another mode to keep it, it is taken back otherwise", result.Timeout)
	case plan.Stage:
		text = "Staged configuration to be applied after the next reboot"
	case plan.StageAndReboot:
		text = "Applied configuration with a reboot"
		if len(result.Effects.Reboot) > 0 {
			text += ": only a boot takes up " + strings.Join(result.Effects.Reboot, ", ")
		}
	default:
		text = "Applied configuration without a reboot"
	}

	if !dryRun {
		return text
	}

	changes := result.Diff
	if changes == "" {
		changes = "No changes."
	}

	daemons := strings.Join(result.Effects.Daemons, ", ")
	if daemons == "" {
		daemons = "none"
	}

	return fmt.Sprintf("Dry run summary:\n%s (skipped in dry-run).\nDaemons that act on it: %s\nConfig diff:\n\n%s", text, daemons, changes)
}

// MetaWrite sets a META key.
func (s *Server) MetaWrite(ctx context.Context, req *machine.MetaWriteRequest) (*machine.MetaWriteResponse, error) {
	key, err := metaKey(req.GetKey())
	if err != nil {
		return nil, err
	}

	err = s.changeMeta(ctx, func(values meta.Values) error {
		values[key] = req.GetValue()

		return nil
	})
	if err != nil {
		return nil, err
	}

	return &machine.MetaWriteResponse{Messages: []*machine.MetaWrite{{}}}, nil
}

// MetaDelete removes a META key.
func (s *Server) MetaDelete(ctx context.Context, req *machine.MetaDeleteRequest) (*machine.MetaDeleteResponse, error) {
	key, err := metaKey(req.GetKey())
	if err != nil {
		return nil, err
	}

	err = s.changeMeta(ctx, func(values meta.Values) error {
		if _, found := values[key]; !found {
			return status.Errorf(codes.NotFound, "META has no key %#02x", key)
		}

		delete(values, key)

		return nil
	})
	if err != nil {
		return nil, err
	}

	return &machine.MetaDeleteResponse{Messages: []*machine.MetaDelete{{}}}, nil
}

func metaKey(key uint32) (uint8, error) {
	if key > math.MaxUint8 {
		return 0, status.Errorf(codes.InvalidArgument, "%#x is not a META key: keys are 0x00 to 0xff", key)
	}

	return uint8(key), nil
}

// changeMeta answers when the change lasts, or waits to be kept by an install.
func (s *Server) changeMeta(ctx context.Context, change func(meta.Values) error) error {
	err := s.Meta.Change(ctx, change)

	switch _, isStatus := status.FromError(err); {
	case errors.Is(err, meta.ErrFull):
		return status.Error(codes.ResourceExhausted, err.Error())
	case isStatus:
		return err
	default:
		return status.Error(codes.Internal, err.Error())
	}
}
