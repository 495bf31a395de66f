package api

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

// Define adds or changes a unit of the calling daemon.
func (l *Local) Define(ctx context.Context, in *initv1.DefineRequest) (*initv1.DefineResponse, error) {
	if in.GetUnit() == nil {
		return nil, status.Error(codes.InvalidArgument, "unit: is missing")
	}

	if err := known(in.ProtoReflect(), "request"); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}

	spec, err := specOf(in.GetUnit())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}

	outcome, err := l.node.Define(callerName(ctx), spec)
	if err != nil {
		return nil, definitionError(err)
	}

	return outcomeOf(spec.Name, outcome), nil
}

// Forget ends and removes a unit of the calling daemon.
func (l *Local) Forget(ctx context.Context, in *initv1.ForgetRequest) (*initv1.ForgetResponse, error) {
	found, err := l.node.Forget(callerName(ctx), in.GetName())
	if err != nil {
		return nil, definitionError(err)
	}

	if !found {
		return nil, status.Errorf(codes.NotFound, "no unit %q", in.GetName())
	}

	return &initv1.ForgetResponse{}, nil
}

// callerName is the daemon that calls; for root's own tools there is no manifest that lets them define anything.
func callerName(ctx context.Context) string {
	caller, _ := peer.FromContext(ctx)

	return caller.Name
}

// known refuses fields that a newer caller knows and this init does not: half of a definition is none.
func known(m protoreflect.Message, path string) error {
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		number, _, _ := protowire.ConsumeTag(unknown)

		return fmt.Errorf("%s: field %d is not known to this init", path, number)
	}

	var err error

	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Message() != nil && !field.IsMap() && !field.IsList() {
			err = known(value.Message(), string(field.Name()))
		}

		return err == nil
	})

	return err
}

func specOf(unit *initv1.Unit) (manifest.Manifest, error) {
	doc := manifest.Document{
		Name: unit.GetName(), Command: unit.GetCommand(), Env: unit.GetEnv(), Needs: unit.GetNeeds(),
		Conditions: unit.GetConditions(), User: unit.GetUser(), Capabilities: unit.GetCapabilities(), Memory: unit.GetMemory(),
		Restart: unit.GetRestart(), Aliases: unit.GetAliases(), Stop: unit.GetStop(), Hang: unit.GetHang(), Kill: unit.GetKill(),
		Socket: unit.GetSocket(), Ready: probeOf(unit.GetReady()), Health: probeOf(unit.GetHealth()),
		Delegate: unit.GetDelegate(), NoNewPrivs: unit.NoNewPrivs, Keep: unit.GetKeep(),
	}

	return doc.Manifest(func(key, format string, args ...any) error {
		return fmt.Errorf("unit.%s: %s", key, fmt.Sprintf(format, args...))
	})
}

func probeOf(probe *initv1.Probe) manifest.Probe {
	return manifest.Probe{Socket: probe.GetSocket(), GRPC: probe.GetGrpc(), HTTP: probe.GetHttp(), Exec: probe.GetExec()}
}

func outcomeOf(name string, outcome supervise.Outcome) *initv1.DefineResponse {
	switch outcome {
	case supervise.Added:
		return &initv1.DefineResponse{Outcome: initv1.DefineResponse_ADDED, Message: fmt.Sprintf("Unit %q is new", name)}
	case supervise.Changed:
		return &initv1.DefineResponse{Outcome: initv1.DefineResponse_CHANGED, Message: fmt.Sprintf("Unit %q is changed, what runs of it goes on", name)}
	case supervise.Restarted:
		return &initv1.DefineResponse{Outcome: initv1.DefineResponse_RESTARTED, Message: fmt.Sprintf("Unit %q is changed and restarts", name)}
	default:
		return &initv1.DefineResponse{Outcome: initv1.DefineResponse_UNCHANGED, Message: fmt.Sprintf("Unit %q is as it was", name)}
	}
}

func definitionError(err error) error {
	circle := (*manifest.CircleError)(nil)

	switch {
	case errors.Is(err, supervise.ErrForbidden), errors.Is(err, supervise.ErrBeyond):
		return status.Error(codes.PermissionDenied, err.Error())
	case errors.Is(err, supervise.ErrTaken):
		return status.Error(codes.AlreadyExists, err.Error())
	case errors.Is(err, supervise.ErrFull):
		return status.Error(codes.ResourceExhausted, err.Error())
	case errors.As(err, &circle):
		return status.Error(codes.InvalidArgument, "unit.needs: "+circle.Error())
	case errors.Is(err, supervise.ErrDown):
		return status.Error(codes.Unavailable, "the node is going down")
	default:
		return status.Error(codes.Internal, err.Error())
	}
}
