package segment

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/samsa-io/samsa/pkg/stream"
)

func TestKeys(t *testing.T) {
	log := stream.Incarnation{0xab, 15: 1}
	require.Equal(t, "log/ab000000000000000000000000000001/00000000000000000042", SlotKey(log, 42))
	require.Equal(t, "log/ab000000000000000000000000000001/gone", GoneKey(log))
	require.Equal(t, "chain/00063/18446744073709551615", ChainKey(63, 1<<64-1))
	require.Equal(t, "state/00003/00000000000000000002/00000000000000000300", StateKey(3, 2, 300))
	require.Equal(t, "state/00003/00000000000000000002/00000000000000000300", StateRef{3, 2, 300}.Key())
}

func TestSections_NeedNoEncoding(t *testing.T) {
	s := sampleSegment()

	sections := s.Sections()

	require.Len(t, sections, 4)
	require.Len(t, sections[0].Entries, 3)
	require.Nil(t, sections[0].Streams)
	b := sections[2].Streams[1]
	require.Equal(t, idB, b.Stream)
	require.EqualValues(t, 5, b.First)
	require.EqualValues(t, 4, b.Count)
	require.EqualValues(t, 9, b.Next())
	require.EqualValues(t, 1, b.FirstTimestamp)
	require.EqualValues(t, 301, b.LastTimestamp)
	require.EqualValues(t, 1_790_000_000_125, b.IDMillis)
	require.Equal(t, "token", *b.Fence)
	require.EqualValues(t, 2, b.Trim)
	require.Equal(t, []ProducerBatch{
		{ID: "p", Seq: 70, First: 5, Count: 3, IDMillis: 1_790_000_000_123, FirstTimestamp: 1, LastTimestamp: 300},
		{ID: "p", Seq: 73, First: 8, Count: 1, IDMillis: 1_790_000_000_125, FirstTimestamp: 301, LastTimestamp: 301},
	}, b.Producers)
	require.Len(t, b.Blocks, 1)
	require.Same(t, &sections[0], &s.Sections()[0])
}

func TestIdentity_IsTheSameForTheSameContentOnly(t *testing.T) {
	seen := map[[16]byte]string{}
	for name, change := range map[string]func(*Segment){
		"as it is":     func(*Segment) {},
		"other slot":   func(s *Segment) { s.Slot++ },
		"other log":    func(s *Segment) { s.Log[0]++ },
		"other window": func(s *Segment) { s.Window++ },
		"other record": func(s *Segment) { s.Batches[0].Payload = sampleRecords("b5", "b6", "b8") },
		"other time":   func(s *Segment) { s.Batches[0].Timestamps[1]++ },
		"other entry":  func(s *Segment) { s.Entries[0].ConfigVersion++ },
		"other state":  func(s *Segment) { s.States = nil },
	} {
		s, twin := sampleSegment(), sampleSegment()
		change(s)
		change(twin)
		one, err := DecodeTrailer(s.Encode())
		require.NoError(t, err)
		two, err := DecodeTrailer(twin.Encode())
		require.NoError(t, err)
		require.Equal(t, one.Identity, two.Identity)
		require.Empty(t, seen[one.Identity], name)
		seen[one.Identity] = name
	}
}

func TestSummary_RemembersTheLastBatchesOfEachProducer(t *testing.T) {
	s := &Segment{}
	for i := range 20 {
		s.Batches = append(s.Batches, Batch{
			Stream: idA, First: stream.SeqNum(i), Timestamps: []uint64{1}, Payload: sampleRecords("x"),
			ProducerID: fmt.Sprint("p", i%2), ProducerSeq: uint64(i / 2),
		})
	}
	s.Batches[0].ProducerID = "rare"

	producers := s.Sections()[0].Streams[0].Producers

	require.Len(t, producers, 1+2*ProducerWindow)
	require.Equal(t, "rare", producers[0].ID)
	for i, p := range producers[1:] {
		require.EqualValues(t, 10+i, p.First)
	}
	footer, err := Verify(s.Encode())
	require.NoError(t, err)
	require.Equal(t, producers, footer.Sections[0].Streams[0].Producers)
}

func TestEncode_StopsAWriterThatBreaksTheRules(t *testing.T) {
	for name, change := range map[string]func(*Segment){
		"a gap":                 func(s *Segment) { s.Batches[2].First++ },
		"an overlap":            func(s *Segment) { s.Batches[2].First-- },
		"no records":            func(s *Segment) { s.Batches[0].Timestamps = nil },
		"falling timestamps":    func(s *Segment) { s.Batches[0].Timestamps[2] = 0 },
		"falling between":       func(s *Segment) { s.Batches[2].Timestamps[0] = 1 },
		"falling id":            func(s *Segment) { s.Batches[2].IDMillis--; s.Batches[2].IDMillis -= 2 },
		"a full stream":         func(s *Segment) { s.Batches[3].First = stream.MaxSeqNum },
		"an entry of no kind":   func(s *Segment) { s.Entries[0].Kind = 0 },
		"a batch beyond bounds": func(s *Segment) { s.Batches[3].Payload = make([]byte, MaxBlockBytes) },
	} {
		s := sampleSegment()
		change(s)
		require.Panics(t, func() { s.Encode() }, name)
	}
}

func TestKinds_HaveNames(t *testing.T) {
	for kind := EntryOpen; kind <= EntryHandOver; kind++ {
		require.NotEqual(t, "unknown", kind.String())
	}
	require.Equal(t, "unknown", EntryKind(0).String())
	for kind := KindSegment; kind <= KindGone; kind++ {
		require.NotContains(t, kind.String(), "unknown")
	}
	require.Contains(t, Kind(0).String(), "unknown")
	require.Equal(t, []string{"none", "zstd", "unknown"}, []string{CodecNone.String(), CodecZstd.String(), Codec(2).String()})
}

func drawStreamState(t *rapid.T) StreamState {
	s := StreamState{
		ID: drawID().Draw(t, "id"), BucketID: stream.ID{rapid.Uint8Max(2).Draw(t, "bucket_id")}, Name: drawName(t),
		Config: drawConfig(t), ConfigVersion: rapid.Uint64().Draw(t, "version"),
		Tail: stream.SeqNum(rapid.Uint64().Draw(t, "tail")), LastTimestamp: rapid.Uint64().Draw(t, "timestamp"),
		LastIDMillis: rapid.Uint64().Draw(t, "id_millis"), Fence: rapid.String().Draw(t, "fence"),
		Trim: stream.SeqNum(rapid.Uint64().Draw(t, "trim")),
	}
	for range rapid.IntRange(0, 3).Draw(t, "producers") {
		s.Producers = append(s.Producers, drawProducer(t))
	}
	for range rapid.IntRange(0, 3).Draw(t, "forgotten") {
		s.Forgotten.Last = append(s.Forgotten.Last, ForgottenProducer{rapid.Uint64().Draw(t, "hash"), rapid.Uint64().Draw(t, "millis")})
	}
	s.Forgotten.Millis, s.Forgotten.Untimed = rapid.Uint64().Draw(t, "forgotten_millis"), rapid.Bool().Draw(t, "untimed")
	return s
}

func drawProducer(t *rapid.T) (batches []ProducerBatch) {
	id := rapid.String().Draw(t, "producer")
	for range rapid.IntRange(1, ProducerWindow).Draw(t, "batches") {
		first := rapid.Uint64().Draw(t, "first_timestamp")
		batches = append(batches, ProducerBatch{
			ID: id, Seq: rapid.Uint64().Draw(t, "seq"), First: stream.SeqNum(rapid.Uint64().Draw(t, "first")),
			Count: rapid.Uint32().Draw(t, "count"), IDMillis: rapid.Uint64().Draw(t, "id_millis"),
			FirstTimestamp: first, LastTimestamp: first + rapid.Uint64Max(^uint64(0)-first).Draw(t, "longer"),
		})
	}
	return batches
}

func TestState_GivesBackWhatWentIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ref := drawStateRef(t)
		want := &State{Shard: ref.Shard, Epoch: ref.Epoch, Slot: ref.Slot}
		for range rapid.IntRange(0, 4).Draw(t, "streams") {
			want.Streams = append(want.Streams, drawStreamState(t))
		}
		for range rapid.IntRange(0, 2).Draw(t, "tombstones") {
			want.Tombstones = append(want.Tombstones, drawID().Draw(t, "tombstone"))
			want.BucketTombstones = append(want.BucketTombstones, drawID().Draw(t, "bucket"))
		}

		got, err := DecodeState(want.Encode())

		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, ref, got.Ref())
	})
}

func TestChainEntry_GivesBackWhatWentIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ref := drawStateRef(t)
		want := ChainEntry{
			Shard: ref.Shard, Epoch: ref.Epoch, Owner: drawID().Draw(t, "owner"), Instance: rapid.String().Draw(t, "instance"),
			Address: rapid.String().Draw(t, "address"), Window: rapid.Uint32().Draw(t, "window"),
			FirstSlot: stream.Slot(rapid.Uint64().Draw(t, "first")), PredecessorEnd: stream.Slot(rapid.Uint64().Draw(t, "end")),
		}
		if rapid.Bool().Draw(t, "state") {
			want.State = new(drawStateRef(t))
		}

		got, err := DecodeChainEntry(want.Encode())

		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}
