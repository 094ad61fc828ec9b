package live

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
)

// frameBytes is what a frame without records takes.
var frameBytes = new(frame.Frame).Memory()

// ringsOf is followers that nobody drives, with room for so many frames: of each, and
// of all together.
func ringsOf(followers int, each, together int64) (*Hub, []*follower) {
	h := &Hub{
		config: Config{RingBytes: each * frameBytes}, ctx: context.Background(),
		rings: newRings(together * frameBytes),
	}
	out := make([]*follower, followers)
	for n := range out {
		out[n] = newFollower(h, nil, stream.Name{}, stream.ID{}, 0)
	}
	return h, out
}

// grow adds a frame of one record.
func (f *follower) grow() {
	at := f.position()
	f.add([]*frame.Frame{{First: at, Next: at + 1, Count: 1}}, at+1)
	f.hub.rings.added(f)
}

func (f *follower) held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ring.frames)
}

func TestRings_StayWithinTheirBytesTogether(t *testing.T) {
	h, followers := ringsOf(50, 8, 10)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		f := followers[rng.IntN(len(followers))]
		f.grow()
		require.LessOrEqual(t, h.rings.bytes.Load(), 10*frameBytes)
		require.NotEmpty(t, f.View(f.position()-1).Frames, "who was just woken finds what is new")
	}
	for _, f := range followers {
		f.jump(Tail{})
		h.rings.gone(f)
	}
	require.Zero(t, h.rings.bytes.Load())
	require.Zero(t, h.rings.byAge.Len())
	require.Empty(t, h.rings.places)
}

func TestRings_OfQuietStreamsGiveWayToThoseOfActiveOnes(t *testing.T) {
	_, followers := ringsOf(3, 10, 10)
	quiet, quieter, active := followers[0], followers[1], followers[2]
	for range 5 {
		quieter.grow()
	}
	for range 5 {
		quiet.grow()
	}
	for range 7 {
		active.grow()
	}
	require.Equal(t, []int{3, 0, 7}, []int{quiet.held(), quieter.held(), active.held()})
	require.True(t, quieter.View(4).Behind, "its records are in blocks")
	require.NotEmpty(t, quiet.View(4).Frames)

	quieter.grow()
	require.Equal(t, []int{2, 1, 7}, []int{quiet.held(), quieter.held(), active.held()})
}

func TestRings_KeepTheNewestFrameWhateverItsSize(t *testing.T) {
	_, followers := ringsOf(2, 10, 0)
	for range 3 {
		for n, f := range followers {
			f.grow()
			require.Equal(t, 1, f.held())
			require.Zero(t, followers[1-n].held())
		}
	}
}

func TestRings_AreSharedByFollowersThatRunAtOnce(t *testing.T) {
	h, followers := ringsOf(8, 5, 12)
	var running sync.WaitGroup
	for _, f := range followers {
		running.Go(func() {
			for range 500 {
				f.grow()
				f.View(f.position() - 1)
			}
			f.jump(Tail{})
			h.rings.gone(f)
		})
	}
	running.Wait()
	require.Zero(t, h.rings.bytes.Load())
	require.Zero(t, h.rings.byAge.Len())
}
