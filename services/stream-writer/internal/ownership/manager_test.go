package ownership

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// peer is another writer as a dialer reaches it.
type peer struct {
	clusterv1.UnimplementedWriterServiceServer
	conn   *grpc.ClientConn
	answer func(context.Context) (*clusterv1.HandOverShardResponse, error)
}

func (p *peer) Conn(string) (*grpc.ClientConn, error) { return p.conn, nil }

func (p *peer) HandOverShard(ctx context.Context, _ *clusterv1.HandOverShardRequest) (*clusterv1.HandOverShardResponse, error) {
	return p.answer(ctx)
}

// newPeer makes a peer that answers so; nil: nobody is there.
func newPeer(t *testing.T, answer func(context.Context) (*clusterv1.HandOverShardResponse, error)) *peer {
	if answer == nil {
		return serve(t, nil)
	}
	return serve(t, &peer{answer: answer})
}

// serve makes a service the one that every address leads to; nil: nobody is there.
func serve(t *testing.T, service clusterv1.WriterServiceServer) *peer {
	ln := bufconn.Listen(1 << 10)
	server := rpc.NewServer(rpc.ServerConfig{})
	if service == nil {
		require.NoError(t, ln.Close())
	} else {
		clusterv1.RegisterWriterServiceServer(server, service)
		go func() { _ = server.Serve(ln) }()
	}
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:peer", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &peer{conn: conn}
}

func manager(dial Dialer, members ...discovery.Member) *Manager {
	return New(Config{
		Instance: "me", Shards: 4, Parallel: 2, PlannedParallel: 1,
		AnswerTimeout: 500 * time.Millisecond, NeededTimeout: time.Second, PlannedTimeout: time.Second, Interval: time.Second,
	}, discovery.Fixed(discovery.RoleStreamWriter, members...), dial, zap.NewNop())
}

func TestAskHandOver_EndsARegisteredOwnerOnlyIfSomebodyNeedsTheShard(t *testing.T) {
	log := stream.Incarnation{7}
	registered := discovery.Member{Role: discovery.RoleStreamWriter, Instance: "other", Incarnation: log.String()}
	hangs := func(ctx context.Context) (*clusterv1.HandOverShardResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	late := func(context.Context) (*clusterv1.HandOverShardResponse, error) {
		return nil, context.DeadlineExceeded // its server has noticed before the caller
	}
	refuses := func(context.Context) (*clusterv1.HandOverShardResponse, error) {
		return nil, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "not the owner")
	}
	keeps := func(context.Context) (*clusterv1.HandOverShardResponse, error) {
		return &clusterv1.HandOverShardResponse{}, nil
	}
	for name, tc := range map[string]struct {
		answer  func(context.Context) (*clusterv1.HandOverShardResponse, error)
		planned bool
		members []discovery.Member
		want    shardlog.OwnerAnswer
	}{
		"keeps":                         {keeps, false, nil, shardlog.OwnerKeeps},
		"refuses":                       {refuses, true, []discovery.Member{registered}, shardlog.OwnerGone},
		"hangs, planned":                {hangs, true, []discovery.Member{registered}, shardlog.OwnerKeeps},
		"hangs, needed":                 {hangs, false, []discovery.Member{registered}, shardlog.OwnerGone},
		"late, planned":                 {late, true, []discovery.Member{registered}, shardlog.OwnerKeeps},
		"late, needed":                  {late, false, []discovery.Member{registered}, shardlog.OwnerGone},
		"hangs, unregistered":           {hangs, true, nil, shardlog.OwnerGone},
		"not there, planned":            {nil, true, []discovery.Member{registered}, shardlog.OwnerKeeps},
		"not there, needed":             {nil, false, []discovery.Member{registered}, shardlog.OwnerGone},
		"not there, unregistered":       {nil, true, nil, shardlog.OwnerGone},
		"not there, of an earlier time": {nil, true, []discovery.Member{{Instance: "other", Incarnation: "newer"}}, shardlog.OwnerGone},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := manager(newPeer(t, tc.answer), tc.members...)
			got, _ := m.AskHandOver(t.Context(), segment.ChainEntry{Owner: log}, tc.planned)
			require.Equal(t, tc.want, got, name)
		})
	}
}

// TestAskHandOver_WaitsForAnOwnerThatIsLettingGo: it lives, so its log is not to be
// sealed for being slow, registered or not.
func TestAskHandOver_WaitsForAnOwnerThatIsLettingGo(t *testing.T) {
	entry := segment.ChainEntry{Owner: stream.Incarnation{7}}
	for name, tc := range map[string]struct {
		answers int64 // until it has handed over
		planned bool
		want    shardlog.OwnerAnswer
		end     stream.Slot
	}{
		"planned":           {5, true, shardlog.OwnerHandedOver, 9},
		"needed":            {5, false, shardlog.OwnerHandedOver, 9},
		"never, planned":    {1 << 30, true, shardlog.OwnerKeeps, 0},
		"never, and needed": {1 << 30, false, shardlog.OwnerGone, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int64
			m := manager(newPeer(t, func(ctx context.Context) (*clusterv1.HandOverShardResponse, error) {
				if asked.Add(1) == tc.answers {
					return &clusterv1.HandOverShardResponse{HandedOver: true, EndSlot: 9}, nil
				}
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
				return &clusterv1.HandOverShardResponse{HandingOver: true}, nil
			}))
			got, end := m.AskHandOver(t.Context(), entry, tc.planned)
			require.Equal(t, tc.want, got, name)
			require.Equal(t, tc.end, end, name)
		})
	}
}

// stuck takes shards but one.
type stuck struct {
	mu    sync.Mutex
	taken map[stream.Shard]int
}

func (s *stuck) Take(ctx context.Context, t shardlog.Take) (segment.ChainEntry, error) {
	id := t.Shard
	s.mu.Lock()
	s.taken[id]++
	s.mu.Unlock()
	if id == 0 {
		<-ctx.Done()
		return segment.ChainEntry{}, ctx.Err()
	}
	return segment.ChainEntry{}, errors.New("not now")
}

func TestManager_GoesOnWhenOneShardCannotBeTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &stuck{taken: map[stream.Shard]int{}}
		var loop sync.WaitGroup
		loop.Go(func() { manager(nil).Run(ctx, w) })
		time.Sleep(5 * time.Minute)
		cancel()
		loop.Wait()
		require.Greater(t, w.taken[1], 5)
	})
}

func TestManager_ForgetsSealedLogsThatNobodyIsRegisteredWith(t *testing.T) {
	kept := stream.Incarnation{1}
	m := manager(nil, discovery.Member{Instance: "other", Incarnation: kept.String()})
	m.Sealed(kept)
	for i := range byte(100) {
		m.Sealed(stream.Incarnation{2, i})
	}
	m.due(time.Now(), m.live())
	require.Len(t, m.sealed, 1)
	require.Empty(t, m.others())
}

// taker is another writer that is offered shards.
type taker struct {
	clusterv1.UnimplementedWriterServiceServer
	offers chan *clusterv1.TakeShardRequest
	refuse atomic.Int32 // so many of them
}

func (o *taker) TakeShard(_ context.Context, r *clusterv1.TakeShardRequest) (*clusterv1.TakeShardResponse, error) {
	if o.refuse.Add(-1) >= 0 {
		return nil, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "not now")
	}
	o.offers <- r
	return &clusterv1.TakeShardResponse{}, nil
}

func TestSealed_OffersTheLogsOtherShards(t *testing.T) {
	o := &taker{offers: make(chan *clusterv1.TakeShardRequest, 64)}
	o.refuse.Store(1)
	gone, other := stream.Incarnation{7}, stream.Incarnation{8}
	m := manager(serve(t, o),
		discovery.Member{Instance: "gone", Incarnation: gone.String()}, discovery.Member{Instance: "other", Incarnation: other.String()})
	m.cfg.PlannedTimeout = 10 * time.Second
	m.note(segment.ChainEntry{Shard: 0, Owner: other}) // not the sealed log's
	m.Sealed(gone)
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() { m.offerAll(ctx) })
	live := m.live()
	for id := stream.Shard(1); id < 4; id++ {
		if m.first(id, live) {
			continue // it takes that itself
		}
		offer := <-o.offers
		require.NotZero(t, offer.GetShard())
		require.True(t, offer.GetPlanned())
		require.Equal(t, gone[:], offer.GetUnreachableIncarnation())
	}
	cancel()
	loop.Wait()
	require.Empty(t, o.offers)
}

func TestAskHandOver_GivesUpOnAnOwnerWhoseLogIsFoundSealed(t *testing.T) {
	log := stream.Incarnation{7}
	asked := make(chan struct{})
	m := manager(newPeer(t, func(ctx context.Context) (*clusterv1.HandOverShardResponse, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	}), discovery.Member{Role: discovery.RoleStreamWriter, Instance: "other", Incarnation: log.String()})
	m.cfg.PlannedTimeout = time.Hour
	go func() {
		<-asked
		m.Offered(log)
	}()
	got, _ := m.AskHandOver(t.Context(), segment.ChainEntry{Owner: log}, true)
	require.Equal(t, shardlog.OwnerGone, got)
	require.Empty(t, m.waits)
}
