package server

import (
	"google.golang.org/grpc"

	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/router/internal/proxy"
	"github.com/samsa-io/samsa/services/router/internal/route"
)

// Options are what the gRPC server needs beside rpc.ServerOptions. The
// interceptors run around every forwarded call, and by that around every REST
// call; whoever checks tokens joins them.
func Options(interceptors ...grpc.StreamServerInterceptor) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(rpc.FrameCodec()),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ChainStreamInterceptor(append(interceptors, openWindow)...),
	}
}

// Register makes the gRPC server forward the whole API.
func Register(s *grpc.Server, p *proxy.Proxy) { p.Register(s, route.Services()...) }
