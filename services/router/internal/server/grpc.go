package server

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/router/internal/proxy"
	"github.com/samsa-io/samsa/services/router/internal/route"
)

// Options are the server options by which every call that has no service of its
// own is forwarded. interceptors run around each call, proxied or not; whoever
// checks tokens joins them.
func Options(p *proxy.Proxy, interceptors ...grpc.StreamServerInterceptor) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.UnknownServiceHandler(p.Handler),
		grpc.ForceServerCodecV2(rpc.FrameCodec()),
		grpc.ChainStreamInterceptor(append(interceptors, openWindow)...),
	}
}

// RegisterHealth serves gRPC health checks.
func RegisterHealth(s *grpc.Server, h *health.Server) { healthv1.RegisterHealthServer(s, h) }

// RegisterReflection serves reflection that lists the proxied services too.
func RegisterReflection(s *grpc.Server) {
	options := reflection.ServerOptions{Services: everyService{s}}
	reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(options))
	reflectionv1alpha.RegisterServerReflectionServer(s, reflection.NewServer(options))
}

// everyService is what a gRPC server serves, and what it forwards.
type everyService struct{ server *grpc.Server }

func (e everyService) GetServiceInfo() map[string]grpc.ServiceInfo {
	all := e.server.GetServiceInfo()
	for _, service := range route.Services() {
		all[string(service.FullName())] = grpc.ServiceInfo{Metadata: service.ParentFile().Path()}
	}
	return all
}
