package stateserver

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/pkg/resource"

	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/internal/catalog"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

// view is how a caller sees a type.
type view struct {
	redact Redactor
	form   form
}

// view decides whether the caller may read the type, and in which form.
func (s *Server) view(ctx context.Context, typ resource.Type) (view, error) {
	if err := s.mine(typ); err != nil {
		return view{}, err
	}

	wantLean := len(metadata.ValueFromIncomingContext(ctx, LeanKey)) > 0

	def, ok := s.Lookup(typ)
	if !ok || !def.Sensitive {
		return view{form: formOf(wantLean, false)}, nil
	}

	switch caller, outside := callerOf(ctx); {
	case outside && slices.Contains(peer.Roles(ctx), access.Admin):
		return view{form: formOf(wantLean, false)}, nil
	case outside:
		return view{}, status.Errorf(codes.PermissionDenied, "not authorized: %s is sensitive, reading it needs the role %s", typ, access.Admin)
	case s.reads(caller, def):
		return view{form: formOf(wantLean, false)}, nil
	case s.Redact[typ] != nil:
		return view{form: formOf(wantLean, true), redact: s.Redact[typ]}, nil
	default:
		return view{}, status.Errorf(codes.PermissionDenied, "%s is sensitive, %s is not one of its readers", typ, caller)
	}
}

// callerOf gives the caller's name, and whether it speaks for somebody outside the node.
func callerOf(ctx context.Context) (string, bool) {
	p, _ := peer.FromContext(ctx)

	return p.Name, peer.Forwarded(ctx)
}

func (s *Server) reads(caller string, def catalog.Definition) bool {
	return caller == peer.Root || caller == s.Self || caller == def.Owner || slices.Contains(def.Readers, caller)
}

// writes refuses callers that may not create, update and destroy resources of the type.
func (s *Server) writes(ctx context.Context, typ resource.Type) error {
	caller, outside := callerOf(ctx)
	if outside {
		return status.Errorf(codes.PermissionDenied, "write access is not allowed: resources of type %s are written by daemons of the node only", typ)
	}

	if err := s.mine(typ); err != nil {
		return err
	}

	if def, _ := s.Lookup(typ); caller == peer.Root || caller == s.Self || slices.Contains(def.Writers, caller) {
		return nil
	}

	return status.Errorf(codes.PermissionDenied, "%s is written by %s, not by %s", typ, s.Self, caller)
}

// mine refuses types of other owners: asking this daemon for them is a routing mistake or a request for a daemon that
// this node does not run.
func (s *Server) mine(typ resource.Type) error {
	def, ok := s.Lookup(typ)
	if !ok || def.Owner == s.Self || s.Alone {
		return nil
	}

	return status.Errorf(codes.Unimplemented, "%s is owned by %s, not by %s", typ, def.Owner, s.Self)
}
