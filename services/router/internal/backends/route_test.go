package backends_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/shardroute"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/router/internal/backends"
	"github.com/samsa-io/samsa/services/router/internal/proxy"
	"github.com/samsa-io/samsa/services/router/internal/routertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type membership map[string][]discovery.Member

func (m membership) Watch(role string) *discovery.Members { return discovery.Fixed(role, m[role]...) }

// pair is a router with two stream-writers, found as in a real cluster: the first
// one ranks best for the test's stream.
func pair(t *testing.T) (r *routertest.Rig, first, second *routertest.Service) {
	const shards = 8
	var all []discovery.Member
	for i := range 2 {
		name := fmt.Sprintf("stream-writer-%d", i)
		all = append(all, discovery.Member{Role: "stream-writer", Instance: name, Address: rpc.InprocPrefix + name})
	}
	r = routertest.NewBehind(t, func(_ *routertest.Rig, dialer *rpc.Dialer) proxy.Backends {
		log := zaptest.NewLogger(t)
		owners := shardroute.New(discovery.Fixed("stream-writer", all...), dialer, shardroute.Options{Shards: shards, Log: log})
		t.Cleanup(owners.Close)
		return backends.New(membership{"stream-writer": all}, dialer, owners, shards, log)
	}, func(c *proxy.Config) { c.SlowAnswer = time.Minute }) // a writer that is slow on a slow machine keeps its append
	services := map[string]*routertest.Service{}
	for range all {
		s := r.Add("stream-writer", &routertest.Service{AppendSession: acknowledge})
		s.AnyUnary = func(_ context.Context, method string, _ any) (any, error) {
			if method == samsav1.StreamService_CheckTail_FullMethodName {
				return &samsav1.CheckTailResponse{NextSeqId: s.Instance}, nil
			}
			return &samsav1.AppendResponse{NextSeqId: s.Instance}, nil
		}
		s.TakeShard = func(*clusterv1.TakeShardRequest) (*clusterv1.TakeShardResponse, error) {
			return &clusterv1.TakeShardResponse{Owner: ownership(s)}, nil
		}
		services[s.Instance] = s
	}
	ranked := discovery.Rank(stream.Name{Bucket: "logs", Stream: "a"}.Shard(shards), all)
	return r, services[ranked[0].Instance], services[ranked[1].Instance]
}

func ownership(s *routertest.Service) *clusterv1.Owner {
	id := stream.NewIncarnation()
	return &clusterv1.Owner{Epoch: 1, Incarnation: id[:], Instance: s.Instance, Address: rpc.InprocPrefix + s.Instance}
}

func acknowledge(ss samsav1.StreamService_AppendSessionServer) error {
	for {
		if _, err := ss.Recv(); err != nil {
			return err
		}
		if err := ss.Send(&samsav1.AppendSessionResponse{}); err != nil {
			return err
		}
	}
}

func appendOnce(t *testing.T, r *routertest.Rig) (*samsav1.AppendResponse, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return r.Streams().Append(ctx, &samsav1.AppendRequest{Bucket: "logs", Stream: "a"})
}

func TestAppend_GoesToAnotherWriterWhenTheOwnerIsDead(t *testing.T) {
	r, first, second := pair(t)
	got, err := appendOnce(t, r)
	require.NoError(t, err)
	require.Equal(t, first.Instance, got.GetNextSeqId())

	first.Die()
	// The connection may break under the append that notices; the next one gets on.
	require.Eventually(t, func() bool {
		got, err = appendOnce(t, r)
		return err == nil
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, second.Instance, got.GetNextSeqId())

	tail, err := r.Streams().CheckTail(t.Context(), &samsav1.CheckTailRequest{Bucket: "logs", Stream: "a"})
	require.NoError(t, err)
	require.Equal(t, second.Instance, tail.GetNextSeqId())
}

func TestAppend_FollowsTheHintOfAWriterThatIsNotTheOwner(t *testing.T) {
	r, first, second := pair(t)
	first.AnyUnary = func(context.Context, string, any) (any, error) {
		return nil, routertest.NotOwner(ownership(second))
	}
	got, err := appendOnce(t, r)
	require.NoError(t, err)
	require.Equal(t, second.Instance, got.GetNextSeqId())
}

func TestAppendSession_StartsAtAnotherWriterWhenTheOwnerIsDead(t *testing.T) {
	r, first, _ := pair(t)
	first.Die()
	session, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, session.Send(&samsav1.AppendSessionRequest{Bucket: "logs", Stream: "a"}))
		_, err = session.Recv()
		require.NoError(t, err)
	}
	require.NoError(t, session.CloseSend())
}
