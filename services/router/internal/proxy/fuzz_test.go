package proxy_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/router/internal/route"
	"github.com/samsa-io/samsa/services/router/internal/routertest"
)

// FuzzCall sends any bytes as the first two messages of any call. It ends well or with
// a typed error that is no internal one.
func FuzzCall(f *testing.F) {
	rig := routertest.New(f)
	for _, role := range []string{"account", "bucket", "stream-writer", "stream-reader"} {
		rig.Add(role, &routertest.Service{
			AnyUnary:      func(context.Context, string, any) (any, error) { return &samsav1.CheckTailResponse{}, nil },
			AppendSession: echo,
			ReadSession: func(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
				return ss.Send(&samsav1.ReadSessionResponse{})
			},
		})
	}
	var methods []string
	for _, service := range route.Services() {
		for i := range service.Methods().Len() {
			methods = append(methods, "/"+string(service.FullName())+"/"+string(service.Methods().Get(i).Name()))
		}
	}
	f.Add(uint8(14), []byte{0x0a, 4, 'l', 'o', 'g', 's', 0x12, 1, 's'}, []byte{0x1a, 0})
	f.Add(uint8(15), []byte{0x0a, 4, 'l', 'o', 'g', 's', 0x12, 1, 's'}, []byte{0xff})
	f.Fuzz(func(t *testing.T, which uint8, first, second []byte) {
		method := methods[int(which)%len(methods)]
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		stream, err := rig.Client.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodecV2(rpc.FrameCodec()))
		require.NoError(t, err)
		_ = stream.SendMsg(rpc.NewFrame(first))
		_ = stream.SendMsg(rpc.NewFrame(second))
		_ = stream.CloseSend()
		for err == nil {
			var answer rpc.Frame
			err = stream.RecvMsg(&answer)
			answer.Free()
		}
		if errors.Is(err, io.EOF) {
			return
		}
		require.NotNil(t, rpc.Detail(err), "%s: %v", method, err)
	})
}
