package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/services/router/internal/rest"
	"github.com/samsa-io/samsa/services/router/internal/routertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// overHTTP is a gRPC connection to the router's HTTP port.
func overHTTP(t *testing.T, r *routertest.Rig) *grpc.ClientConn {
	server := r.HTTP(rest.Config{MaxBodyBytes: 1 << 20, MaxURLBytes: 4096, MaxHeaderBytes: 8192, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return conn
}

func echo(ss samsav1.StreamService_AppendSessionServer) error {
	for {
		request, err := ss.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ss.Send(&samsav1.AppendSessionResponse{EndSeqNum: request.GetMatchSeqNum()}); err != nil {
			return err
		}
	}
}

func TestHTTPPort_SpeaksGRPC(t *testing.T) {
	r := routertest.New(t)
	r.Add("stream-writer", &routertest.Service{AppendSession: echo})
	client := samsav1.NewStreamServiceClient(overHTTP(t, r))
	var sessions sync.WaitGroup
	for range 200 {
		sessions.Go(func() {
			session, err := client.AppendSession(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			for i := range uint64(10) {
				err := session.Send(&samsav1.AppendSessionRequest{Bucket: "logs", Stream: "a", MatchSeqNum: &i})
				ack, recvErr := session.Recv()
				if err != nil || recvErr != nil || ack.GetEndSeqNum() != i {
					t.Error(ack, err, recvErr)
					return
				}
			}
			_ = session.CloseSend()
			if _, err := session.Recv(); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		})
	}
	sessions.Wait()
}

func TestHTTPPort_PassesStatusDetailsAndCancellation(t *testing.T) {
	r := routertest.New(t)
	ended := make(chan struct{})
	r.Add("stream-reader", &routertest.Service{ReadSession: func(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
		defer close(ended)
		_ = ss.Send(&samsav1.ReadSessionResponse{})
		<-ss.Context().Done()
		return ss.Context().Err()
	}})
	client := samsav1.NewStreamServiceClient(overHTTP(t, r))
	_, err := client.Append(t.Context(), &samsav1.AppendRequest{Bucket: "B", Stream: "a"})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.NotEmpty(t, status.Convert(err).Details())

	ctx, cancel := context.WithCancel(t.Context())
	session, err := client.ReadSession(ctx, &samsav1.ReadSessionRequest{Bucket: "logs", Stream: "a"})
	require.NoError(t, err)
	_, err = session.Recv()
	require.NoError(t, err)
	cancel()
	<-ended
}

// Through net/http grpc-go would read on without end; the window stops it.
func TestHTTPPort_PushesBack(t *testing.T) {
	r := routertest.New(t)
	routertest.RequirePushBack(t, r, samsav1.NewStreamServiceClient(overHTTP(t, r)))
}

func TestReflection_ListsTheForwardedServices(t *testing.T) {
	r := routertest.New(t)
	for _, conn := range []*grpc.ClientConn{r.Client, overHTTP(t, r)} {
		stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
		require.NoError(t, err)
		ask := func(request *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
			require.NoError(t, stream.Send(request))
			answer, err := stream.Recv()
			require.NoError(t, err)
			return answer
		}
		var names []string
		list := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
		for _, service := range list.GetListServicesResponse().GetService() {
			names = append(names, service.GetName())
		}
		require.Subset(t, names, []string{"samsa.v1.AccountService", "samsa.v1.BucketService", "samsa.v1.StreamService"})
		file := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "samsa.v1.StreamService"}})
		require.NotEmpty(t, file.GetFileDescriptorResponse().GetFileDescriptorProto())
		require.NoError(t, stream.CloseSend())
		_, err = stream.Recv()
		require.ErrorIs(t, err, io.EOF)
	}
}
