package stateserver

import (
	"context"

	"google.golang.org/grpc"

	"github.com/cosi-project/runtime/api/v1alpha1"
)

// Register serves the state under cosi's service name. The handlers are written out because they answer with frame.Raw
// where the generated ones insist on messages.
func (s *Server) Register(registrar grpc.ServiceRegistrar) {
	registrar.RegisterService(&grpc.ServiceDesc{
		ServiceName: v1alpha1.State_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Metadata:    v1alpha1.State_ServiceDesc.Metadata,
		Methods: []grpc.MethodDesc{
			unary("Get", s.Get),
			unary("Create", s.Create),
			unary("Update", s.Update),
			unary("Destroy", s.Destroy),
		},
		Streams: []grpc.StreamDesc{
			stream("List", s.List),
			stream("Watch", s.Watch),
		},
	}, s)
}

func unary[Req any](name string, call func(context.Context, *Req) (any, error)) grpc.MethodDesc {
	full := "/" + v1alpha1.State_ServiceDesc.ServiceName + "/" + name

	handler := func(ctx context.Context, req any) (any, error) {
		return call(ctx, req.(*Req)) //nolint:forcetypeassert // made below
	}

	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			req := new(Req)
			if err := decode(req); err != nil {
				return nil, err
			}

			if interceptor == nil {
				return call(ctx, req)
			}

			return interceptor(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: full}, handler)
		},
	}
}

func stream[Req any](name string, call func(*Req, grpc.ServerStream) error) grpc.StreamDesc {
	return grpc.StreamDesc{
		StreamName:    name,
		ServerStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error {
			req := new(Req)
			if err := s.RecvMsg(req); err != nil {
				return err
			}

			return call(req, s)
		},
	}
}
