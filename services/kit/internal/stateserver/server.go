// Package stateserver serves a daemon's resources as cosi.resource.State. It answers with bytes encoded once per resource
// version, checks who may write and who may read sensitive types, and sends the events of a watch in batches.
package stateserver

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
	"github.com/cosi-project/runtime/pkg/state"
	cosi "github.com/cosi-project/runtime/pkg/state/protobuf/server"

	"github.com/dactyl-os/dactyl/services/kit/internal/catalog"
	"github.com/dactyl-os/dactyl/services/kit/internal/store"
)

// LeanKey is the metadata key with which daemons ask for resources without YAML and without the old ones of updates.
const LeanKey = "dactyl-lean"

// Redactor gives a copy of a resource that everybody on the node may see. It may change its argument.
type Redactor func(resource.Resource) (resource.Resource, error)

// Server is the State service of one daemon.
type Server struct {
	// Self is the daemon's name.
	Self string
	// Lookup finds a type's owner and readers.
	Lookup catalog.Lookup
	// Alone is set when the daemon runs without the others and every type is its own.
	Alone bool
	// Redact holds the redaction of sensitive types.
	Redact map[resource.Type]Redactor
	// Stopping ends watches when it is closed.
	Stopping <-chan struct{}
	// Settled waits until the daemon has filled its store after a restart.
	Settled func(context.Context)

	store *store.Store
	cache *cache
}

// New makes a server with an empty store.
func New() *Server {
	s := &Server{cache: newCache(), Redact: map[resource.Type]Redactor{}, Settled: func(context.Context) {}}
	s.store = store.New(s.cache.forget)

	return s
}

// Store is the daemon's own state, without any check.
func (s *Server) Store() *store.Store { return s.store }

// Get a resource by type and id.
func (s *Server) Get(ctx context.Context, req *v1alpha1.GetRequest) (any, error) {
	view, err := s.view(ctx, req.GetType())
	if err != nil {
		return nil, err
	}

	ptr := resource.NewMetadata(req.GetNamespace(), req.GetType(), req.GetId(), resource.VersionUndefined)

	r, err := s.store.Get(ctx, ptr)
	if state.IsNotFoundError(err) {
		// Just restarted, the daemon may not have come to it yet.
		s.Settled(ctx)

		r, err = s.store.Get(ctx, ptr)
	}

	if err != nil {
		return nil, statusOf(err, codes.FailedPrecondition)
	}

	data, err := s.cache.get(r, view.form, view.redact)
	if err != nil {
		return nil, err
	}

	return answer(data), nil
}

// List the resources of a type.
func (s *Server) List(req *v1alpha1.ListRequest, stream grpc.ServerStream) error {
	ctx := stream.Context()

	view, err := s.view(ctx, req.GetType())
	if err != nil {
		return err
	}

	opts, err := listOptions(req.GetOptions())
	if err != nil {
		return err
	}

	s.Settled(ctx)

	items, err := s.store.List(ctx, resource.NewMetadata(req.GetNamespace(), req.GetType(), "", resource.VersionUndefined), opts...)
	if err != nil {
		return statusOf(err, codes.FailedPrecondition)
	}

	for _, r := range items.Items {
		data, err := s.cache.get(r, view.form, view.redact)
		if err != nil {
			return err
		}

		if err := stream.SendMsg(answer(data)); err != nil {
			return err
		}
	}

	return nil
}

// Create a resource.
func (s *Server) Create(ctx context.Context, req *v1alpha1.CreateRequest) (any, error) {
	r, err := s.written(ctx, req.GetResource())
	if err != nil {
		return nil, err
	}

	if err := s.store.Create(ctx, r, state.WithCreateOwner(req.GetOptions().GetOwner())); err != nil {
		return nil, statusOf(err, codes.AlreadyExists)
	}

	return s.result(r)
}

// Update a resource whose version is still the one given.
func (s *Server) Update(ctx context.Context, req *v1alpha1.UpdateRequest) (any, error) {
	r, err := s.written(ctx, req.GetNewResource())
	if err != nil {
		return nil, err
	}

	opts := []state.UpdateOption{state.WithUpdateOwner(req.GetOptions().GetOwner()), state.WithExpectedPhaseAny()}

	if req.GetOptions() != nil && req.GetOptions().ExpectedPhase != nil {
		phase, err := resource.ParsePhase(req.GetOptions().GetExpectedPhase())
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}

		opts = append(opts, state.WithExpectedPhase(phase))
	}

	if err := s.store.Update(ctx, r, opts...); err != nil {
		return nil, statusOf(err, codes.FailedPrecondition)
	}

	return s.result(r)
}

// Destroy a resource that has no finalizers.
func (s *Server) Destroy(ctx context.Context, req *v1alpha1.DestroyRequest) (any, error) {
	if err := s.writes(ctx, req.GetType()); err != nil {
		return nil, err
	}

	err := s.store.Destroy(ctx,
		resource.NewMetadata(req.GetNamespace(), req.GetType(), req.GetId(), resource.VersionUndefined),
		state.WithDestroyOwner(req.GetOptions().GetOwner()))
	if err != nil {
		return nil, statusOf(err, codes.FailedPrecondition)
	}

	return &v1alpha1.DestroyResponse{}, nil
}

// written decodes a resource to be stored and checks that the caller may write its type.
func (s *Server) written(ctx context.Context, in *v1alpha1.Resource) (resource.Resource, error) {
	if err := s.writes(ctx, in.GetMetadata().GetType()); err != nil {
		return nil, err
	}

	// Writing back what was read redacted would destroy the secrets.
	if view, err := s.view(ctx, in.GetMetadata().GetType()); err != nil {
		return nil, err
	} else if view.redact != nil {
		return nil, status.Errorf(codes.PermissionDenied, "%s may not be written by a reader of its redacted form", in.GetMetadata().GetType())
	}

	p, err := protobuf.Unmarshal(in)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}

	r, err := protobuf.UnmarshalResource(p)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}

	return r, nil
}

func (s *Server) result(r resource.Resource) (any, error) {
	data, err := s.cache.get(r, full, nil)
	if err != nil {
		return nil, err
	}

	return answer(data), nil
}

func listOptions(in *v1alpha1.ListOptions) ([]state.ListOption, error) {
	labels, ids, err := queries(in.GetLabelQuery(), in.GetIdQuery())
	if err != nil {
		return nil, err
	}

	opts := []state.ListOption{state.WithIDQuery(ids...)}
	for _, query := range labels {
		opts = append(opts, state.WithLabelQuery(query...))
	}

	return opts, nil
}

// queries decodes what a List or a Watch selects by.
func queries(labels []*v1alpha1.LabelQuery, id *v1alpha1.IDQuery) (queries [][]resource.LabelQueryOption, ids []resource.IDQueryOption, err error) {
	for _, query := range labels {
		terms, err := cosi.ConvertLabelQuery(query.GetTerms())
		if err != nil {
			return nil, nil, err
		}

		queries = append(queries, terms)
	}

	ids, err = cosi.ConvertIDQuery(id)

	return queries, ids, err
}

// statusOf gives the codes that cosi's client turns back into its typed errors.
func statusOf(err error, conflict codes.Code) error {
	switch {
	case state.IsNotFoundError(err):
		return status.Error(codes.NotFound, err.Error())
	case state.IsOwnerConflictError(err):
		return status.Error(codes.PermissionDenied, err.Error())
	case state.IsPhaseConflictError(err):
		return status.Error(codes.InvalidArgument, err.Error())
	case state.IsConflictError(err):
		return status.Error(conflict, err.Error())
	case state.IsInvalidWatchBookmarkError(err):
		return status.Error(codes.FailedPrecondition, err.Error())
	default:
		return err
	}
}
