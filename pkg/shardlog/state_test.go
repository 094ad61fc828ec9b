package shardlog

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// nameIn finds a stream's name in a shard.
func nameIn(shard stream.Shard, shards uint32) string {
	for i := 0; ; i++ {
		if name := (stream.Name{Bucket: "bucket", Stream: fmt.Sprint(i)}); name.Shard(shards) == shard {
			return name.Stream
		}
	}
}

func footersRead(s *script) (n int) {
	for _, a := range s.seen {
		if g, ok := a.(Get); ok && g.Suffix == segment.FooterProbe {
			n++
		}
	}
	return n
}

func TestTake_ReplaysLittleOfAShardThatWasIdle(t *testing.T) {
	store := map[string][]byte{}
	busy := newScript(t, 1, store)
	busy.w.cfg.Shards = 2
	busy.step(Take{Tag: "0", Shard: 0}, Take{Tag: "1", Shard: 1})
	idle, other := nameIn(0, 2), nameIn(1, 2)
	busy.append("idle", idle, nil)
	for i := range 500 {
		busy.append(i, other, nil)
	}
	next := newScript(t, 2, store)
	next.w.cfg.Shards = 2
	next.step(Take{Tag: "0", Shard: 0})
	require.NoError(t, next.replies["0"].Err)
	require.LessOrEqual(t, footersRead(next), idleFactor*next.w.cfg.StateSlots)
	next.append("again", idle, nil)
	require.EqualValues(t, 1, next.acked("again").First)
}

func TestTake_ReplaysLittleAfterAHandOverThatNobodyTook(t *testing.T) {
	store := map[string][]byte{}
	first := newScript(t, 1, store)
	first.w.cfg.Shards = 2
	first.step(Take{Tag: "0", Shard: 0}, Take{Tag: "1", Shard: 1})
	for i := range 100 {
		first.append(i, nameIn(0, 2), nil)
	}
	first.step(HandOver{Tag: "lost", Shard: 0, Epoch: 0, Incarnation: stream.Incarnation{1}})
	first.append("other", nameIn(1, 2), nil) // above the part's end; then the owner dies

	next := newScript(t, 2, store)
	next.w.cfg.Shards = 2
	next.step(Take{Tag: "0", Shard: 0})
	require.NoError(t, next.replies["0"].Err)
	require.LessOrEqual(t, footersRead(next), 2*next.w.cfg.StateSlots)
}

func TestState_OfAnEarlierEpochIsNotNamed(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.hold = isPut("state/")
	for i := range 2 * s.w.cfg.StateSlots {
		s.append(i, "s", nil)
	}
	state := s.held[0]
	s.held, s.hold = nil, nil
	s.step(HandOver{Tag: "lost", Shard: 0, Epoch: 0, Incarnation: stream.Incarnation{1}})
	s.pass(3 * time.Second)
	require.EqualValues(t, 1, s.w.shards[0].entry.Epoch)
	s.act(state) // at last
	s.step()
	require.Empty(t, s.w.stateRefs())
}

func TestTrim_IsDurableWhenItReturns(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.append("a", "s", nil)
	s.hold = isPut("log/")
	trim := Trim{Tag: "first", Name: stream.Name{Bucket: "bucket", Stream: "s"}, ID: s.row("s").ID, Trim: 1}
	s.step(trim)
	trim.Tag = "again"
	s.step(trim)
	require.NotContains(t, s.replies, "again", "a fenced owner would forget what was promised")
	s.release()
	require.NoError(t, s.replies["first"].Err)
	require.NoError(t, s.replies["again"].Err)
}

func TestTrim_OfAConfigurationThatIsGoneIsRefused(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.append("a", "s", nil)
	name, row := stream.Name{Bucket: "bucket", Stream: "s"}, s.row("s")
	forEver := row.Config
	forEver.RetentionSeconds = 0
	s.hold = isPut("log/")
	s.step(Configure{Tag: "keep", Name: name, ID: row.ID, Config: forEver, ConfigVersion: 2})
	s.step(Trim{Tag: "early", Name: name, ID: row.ID, Trim: 1, ConfigVersion: 1}) // nobody has heard of it yet
	require.ErrorIs(t, s.refused("early"), ErrReconfigured)
	s.release()
	require.NoError(t, s.replies["keep"].Err)
	s.step(Trim{Tag: "late", Name: name, ID: row.ID, Trim: 1, ConfigVersion: 1})
	require.ErrorIs(t, s.refused("late"), ErrReconfigured)
	s.step(Trim{Tag: "by it", Name: name, ID: row.ID, Trim: 1, ConfigVersion: 2})
	require.NoError(t, s.replies["by it"].Err)
}

func TestInspect_AsksAgainForAnEmptyStreamWhoseShardWasTakenBack(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.hold = func(a Action) bool { _, ok := a.(Head); return ok }
	s.step(Inspect{Tag: "tail", Name: stream.Name{Bucket: "bucket", Stream: "empty"}, Prove: true})
	require.Len(t, s.held, 1)
	probe := s.held
	s.held, s.hold = nil, nil
	s.step(HandOver{Tag: "lost", Shard: 0, Epoch: 0, Incarnation: stream.Incarnation{1}})
	s.pass(3 * time.Second)
	s.held = probe
	s.release()
	require.NoError(t, s.replies["tail"].Err)
	require.Zero(t, s.replies["tail"].View.Tail)
}

func TestDurable_ThatDoesNotFitTheStateIsNotAcknowledged(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.append("a", "s", nil)
	s.hold = isPut("log/")
	s.append("b", "s", nil)
	s.w.shards[0].durable.streams[s.row("s").ID].Tail = 7 // a bug
	s.release()
	require.ErrorIs(t, s.refused("b"), ErrOutcomeUnknown)
	died := s.seen[len(s.seen)-1].(Died)
	require.ErrorIs(t, died.Err, ErrDamaged)
	require.True(t, errors.Is(died.Err, ErrOutcomeUnknown))
	require.True(t, strings.Contains(died.Err.Error(), "log/"), "names the slot: %v", died.Err)
}

func TestInspect_ShowsNoEmptyStreamWhereOneIsBeingDeleted(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.append("a", "s", nil)
	name := stream.Name{Bucket: "bucket", Stream: "s"}
	s.hold = isPut("log/")
	s.append("in flight", "other", nil)
	s.append("gathered", "other", nil) // the rest shares its segment
	s.step(Inspect{Tag: "tail", Name: name, Prove: true})
	s.append("b", "s", nil)
	s.step(Tombstone{Tag: "delete", Name: name, ID: s.row("s").ID})
	s.release()
	s.pass(time.Second)
	require.NoError(t, s.replies["delete"].Err)
	require.ErrorIs(t, s.refused("tail"), ErrDeleting)
}

func TestTombstone_OutlivesAnOldRowAndATakeover(t *testing.T) {
	store := map[string][]byte{}
	s := newScript(t, 1, store)
	s.own()
	s.append("a", "s", nil)
	s.step(Tombstone{Tag: "delete", Name: stream.Name{Bucket: "bucket", Stream: "s"}, ID: s.row("s").ID})
	require.NoError(t, s.replies["delete"].Err)
	for id := range byte(3) {
		s.append("b", "s", nil) // the catalog still shows the row
		require.ErrorIs(t, s.refused("b"), ErrDeleting)
		s = newScript(t, 2+id, store) // from the second on, from the state alone
		s.own()
	}
}

func TestFence_OutlivesATakeover(t *testing.T) {
	store := map[string][]byte{}
	s := newScript(t, 1, store)
	s.own()
	token, stale := "new", ""
	fence := record("fence", "s", nil)
	fence.Commands = []Command{{Fence: &token}}
	s.step(fence)
	s.acked("fence")
	s = newScript(t, 2, store)
	s.own()
	a := record("a", "s", nil)
	a.FencingToken = &stale
	s.step(a)
	refusal := (*ConditionError)(nil)
	require.ErrorAs(t, s.refused("a"), &refusal)
	require.Equal(t, token, refusal.FencingToken)
}
