package rpc

import "google.golang.org/grpc"

// Streamed registers services whose unary methods are served as streams of one
// message each way; on the wire there is no difference. gRPC receives and decodes the
// request of a unary method before any interceptor runs; that of a stream when the
// handler asks for it, which is after the check of the token.
func Streamed(to grpc.ServiceRegistrar) grpc.ServiceRegistrar { return streamed{to} }

type streamed struct{ to grpc.ServiceRegistrar }

// RegisterService implements grpc.ServiceRegistrar.
func (s streamed) RegisterService(desc *grpc.ServiceDesc, service any) {
	out := *desc
	out.Methods, out.Streams = nil, append([]grpc.StreamDesc(nil), desc.Streams...)
	for _, method := range desc.Methods {
		out.Streams = append(out.Streams, grpc.StreamDesc{
			StreamName: method.MethodName, Handler: serveOne(method),
			// grpc-go calls no stream interceptor for a method that streams neither way.
			ClientStreams: true, ServerStreams: true,
		})
	}
	s.to.RegisterService(&out, service)
}

func serveOne(method grpc.MethodDesc) grpc.StreamHandler {
	return func(service any, ss grpc.ServerStream) error {
		response, err := method.Handler(service, ss.Context(), ss.RecvMsg, nil)
		if err != nil {
			return err
		}
		return ss.SendMsg(response)
	}
}
