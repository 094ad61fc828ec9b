package ownership

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

func TestMoves_ThatLeadToNothingComeBehindOthers(t *testing.T) {
	m, now := newMoves(1, 1), time.Now()
	hung, good := move{0, planned}, move{1, planned}
	begun, _ := m.begin(now, []move{hung, good}, time.Minute)
	require.Equal(t, []move{hung}, begun, "there is one place")
	m.end(now, hung, false)
	begun, _ = m.begin(now, []move{hung, good}, time.Minute)
	require.Equal(t, []move{good}, begun)
	m.end(now, good, true)
	begun, next := m.begin(now, []move{hung}, time.Minute)
	require.Empty(t, begun)
	require.Equal(t, firstRetry, next)
	for range 100 {
		now = now.Add(lastRetry)
		begun, _ = m.begin(now, []move{hung}, time.Minute)
		require.Len(t, begun, 1, "it is tried again for ever")
		m.end(now, hung, false)
	}
}

func TestMoves_HoldsPlannedOnesAlone(t *testing.T) {
	m, now := newMoves(1, 1), time.Now()
	m.hold(now.Add(time.Second))
	m.hold(now) // does not shorten it
	begun, next := m.begin(now, []move{{0, planned}, {1, free}, {2, away}}, time.Minute)
	require.Equal(t, []move{{1, free}, {2, away}}, begun)
	require.Equal(t, time.Second, next)
	begun, _ = m.begin(now.Add(time.Second), []move{{0, planned}}, time.Minute)
	require.Len(t, begun, 1)
}

func TestManager_TakesWhatIsFreeWhilePlannedMovesHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := manager(nil)
		m.cfg.Shards = 8
		w := &hanging{taken: map[stream.Shard]int{}}
		for id := range stream.Shard(4) { // of a living owner that hangs
			m.note(segment.ChainEntry{Shard: id, Owner: stream.Incarnation{7}})
		}
		m.members = discovery.Fixed(discovery.RoleStreamWriter)
		ctx, cancel := context.WithCancel(t.Context())
		var loop sync.WaitGroup
		loop.Go(func() { m.Run(ctx, w) })
		synctest.Wait()
		w.mu.Lock()
		require.Len(t, w.taken, 2, "as many as there are places")
		w.mu.Unlock()
		time.Sleep(4 * movePatience)
		cancel()
		loop.Wait()
		for id := range stream.Shard(8) {
			require.NotZero(t, w.taken[id], "shard %d was never tried", id)
		}
	})
}

// hanging never takes a shard.
type hanging struct {
	mu    sync.Mutex
	taken map[stream.Shard]int
}

func (h *hanging) Take(ctx context.Context, t shardlog.Take) (segment.ChainEntry, error) {
	id := t.Shard
	h.mu.Lock()
	h.taken[id]++
	h.mu.Unlock()
	<-ctx.Done()
	return segment.ChainEntry{}, ctx.Err()
}

// own makes the manager the owner of all shards.
func own(m *Manager, log stream.Incarnation) {
	m.Began(log)
	for id := range stream.Shard(m.cfg.Shards) {
		m.Owned(shardlog.Owned{Entry: segment.ChainEntry{Shard: id, Epoch: 1, Owner: log, FirstSlot: 3}})
	}
}

func other(incarnation stream.Incarnation, drained bool) discovery.Member {
	return discovery.Member{Role: discovery.RoleStreamWriter, Instance: "other", Incarnation: incarnation.String(), Drained: drained}
}

func TestDrained_GivesItsShardsAwayUntilItOwnsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &taker{offers: make(chan *clusterv1.TakeShardRequest, 64)}
		o.refuse.Store(2)
		m := manager(serve(t, o), other(stream.Incarnation{8}, false))
		own(m, stream.Incarnation{1})
		require.Len(t, m.Standing().Owned, 4)
		ctx, cancel := context.WithCancel(t.Context())
		var loop sync.WaitGroup
		loop.Go(func() { m.Run(ctx, &stuck{taken: map[stream.Shard]int{}}) })
		m.SetDrained(true)
		for range 4 {
			r := <-o.offers
			require.True(t, r.GetPlanned())
			require.False(t, m.Keeps(stream.Shard(r.GetShard())))
			m.Lost(stream.Shard(r.GetShard()))
		}
		synctest.Wait()
		require.Empty(t, m.Standing().Owned)
		require.True(t, m.Standing().Drained)
		cancel()
		loop.Wait()
	})
}

func TestDrained_KeepsWhatNobodyElseCanTake(t *testing.T) {
	for name, members := range map[string][]discovery.Member{
		"alone":           nil,
		"all are drained": {other(stream.Incarnation{8}, true)},
	} {
		m := manager(nil, members...)
		own(m, stream.Incarnation{1})
		m.drained = true
		due, _ := m.due(time.Now(), m.live())
		require.Empty(t, due, name)
	}
}

func TestDrained_OwnersGiveTheirShardsThemselves(t *testing.T) {
	log := stream.Incarnation{8}
	m := manager(nil, other(log, true))
	now := time.Now()
	for id := range stream.Shard(4) {
		m.note(segment.ChainEntry{Shard: id, Owner: log})
	}
	due, _ := m.due(now, m.live())
	require.Empty(t, due)
	m.Sealed(log)
	due, _ = m.due(now, m.live())
	require.NotEmpty(t, due, "it is gone")
}

func TestManager_MovesWhatTurnsOutToBeOwnedInItsTurn(t *testing.T) {
	log := stream.Incarnation{8}
	asked := false
	m := manager(newPeer(t, func(context.Context) (*clusterv1.HandOverShardResponse, error) {
		asked = true
		return &clusterv1.HandOverShardResponse{HandedOver: true}, nil
	}), other(log, false))
	m.cfg.PlannedTimeout = 10 * time.Second
	begun, _ := m.moves.begin(time.Now(), []move{{1, free}}, time.Minute)
	require.Len(t, begun, 1)
	entry := segment.ChainEntry{Shard: 1, Owner: log}
	got, _ := m.AskHandOver(t.Context(), entry, true)
	require.Equal(t, shardlog.OwnerKeeps, got)
	require.False(t, asked)
	m.moves.end(time.Now(), begun[0], false)
	got, _ = m.AskHandOver(t.Context(), entry, true)
	require.Equal(t, shardlog.OwnerHandedOver, got)
}

func TestManager_LeavesOthersTheirShardsForAWhileAfterItsLogWasSealed(t *testing.T) {
	m := manager(nil, other(stream.Incarnation{8}, false))
	m.cfg.HoldOff = time.Hour
	for id := range stream.Shard(4) {
		m.note(segment.ChainEntry{Shard: id, Owner: stream.Incarnation{8}})
	}
	_, _ = m.due(time.Now(), m.live())
	m.moves = newMoves(4, 4)
	m.Ended(stream.Incarnation{1}, nil)
	begun, _ := m.due(time.Now(), m.live())
	require.NotEmpty(t, begun)
	m.moves = newMoves(4, 4)
	m.Ended(stream.Incarnation{1}, shardlog.ErrDied)
	begun, _ = m.due(time.Now(), m.live())
	require.Empty(t, begun)
}
