package segment

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

var update = flag.Bool("update", false, "write the golden bytes of the current version")

var (
	logA    = stream.Incarnation{0xa0, 15: 0x0a}
	logB    = stream.Incarnation{0xb0, 15: 0x0b}
	idA     = stream.ID{0x01, 15: 0x10}
	idB     = stream.ID{0x02, 15: 0x20}
	bucket  = stream.ID{0xbb}
	sampled = Header{Log: logA, Slot: 41, Window: 8}
)

// sampleSegment is small and has everything: every kind of entry, a stream in
// two parts, producers, a fence, a trim, a block that compresses.
func sampleSegment() *Segment { return sampleSegmentOf(make([]byte, 700)) }

// sampleSegmentOf has that body in one of its records.
func sampleSegmentOf(body []byte) *Segment {
	s := &Segment{Header: sampled, States: []StateRef{{Shard: 3, Epoch: 1, Slot: 40}}}
	for kind := EntryOpen; kind <= EntryHandOver; kind++ {
		s.Entries = append(s.Entries, Entry{
			Shard: 3, Epoch: stream.Epoch(kind % 2), Kind: kind, Stream: idA, BucketID: bucket,
			Name: stream.Name{Bucket: "my-bucket", Stream: "my/stream"}, Config: stream.DefaultConfig(), ConfigVersion: 2, Trim: 9,
		}.stored())
	}
	s.Batches = []Batch{
		{Shard: 3, Epoch: 2, Stream: idB, First: 5, IDMillis: 1_790_000_000_123, Timestamps: []uint64{1, 1, 300},
			Payload:    sampleRecords("b5", "b6", "b7"),
			ProducerID: "p", ProducerSeq: 70, Fence: new("token"), Trim: 2},
		{Shard: 3, Epoch: 2, Stream: idA, First: 0, IDMillis: 1_790_000_000_124, Timestamps: []uint64{1_790_000_000_124},
			Payload: AppendRecord(nil, nil, body)},
		{Shard: 3, Epoch: 2, Stream: idB, First: 8, IDMillis: 1_790_000_000_125, Timestamps: []uint64{301},
			Payload: sampleRecords("b8"), ProducerID: "p", ProducerSeq: 73},
		{Shard: 9, Epoch: 0, Stream: idA, First: 77, IDMillis: 5, Timestamps: []uint64{6}, Payload: sampleRecords("")},
	}
	return s
}

func sampleRecords(bodies ...string) (payload []byte) {
	for _, body := range bodies {
		payload = AppendRecord(payload, []*samsav1.Header{{Name: []byte("k"), Value: []byte("v")}, {}}, []byte(body))
	}
	return payload
}

func sampleChainEntry() ChainEntry {
	return ChainEntry{
		Shard: 3, Epoch: 2, Owner: logA, Instance: "writer-1", Address: "10.0.0.1:50052", Window: 8,
		FirstSlot: 17, PredecessorEnd: 300, State: &StateRef{Shard: 3, Epoch: 1, Slot: 300},
	}
}

func sampleState() *State {
	p := ProducerBatch{ID: "p", Seq: 70, First: 5, Count: 3, IDMillis: 123, FirstTimestamp: 1, LastTimestamp: 300}
	q := ProducerBatch{ID: "p", Seq: 73, First: 8, Count: 1, IDMillis: 125, FirstTimestamp: 301, LastTimestamp: 301}
	return &State{
		Shard: 3, Epoch: 1, Slot: 300, Tombstones: []stream.ID{idA}, BucketTombstones: []stream.ID{bucket},
		Streams: []StreamState{
			{ID: idA, BucketID: bucket, Name: stream.Name{Bucket: "my-bucket", Stream: "s"}, Config: stream.DefaultConfig()},
			{ID: idB, BucketID: bucket, Name: stream.Name{Bucket: "my-bucket", Stream: "t"}, Config: stream.DefaultConfig(),
				ConfigVersion: 4, Tail: 9, LastTimestamp: 301, LastIDMillis: 125, Fence: "token", Trim: 2,
				Producers: [][]ProducerBatch{{{ID: "q", Count: 1}}, {p, q}}},
		},
	}
}

// object is one small object of a kind and its decoder, whose result is
// compared.
type object struct {
	name   string
	bytes  []byte
	decode func([]byte) (any, error)
	want   any
}

type sealed struct {
	Header
	by stream.Incarnation
}

func sampleObjects() []object {
	segment, zstd := sampleSegmentOf([]byte("small")), sampleSegment()
	chain, state := sampleChainEntry(), sampleState()
	forgotten := sampleState()
	forgotten.Streams[1].Forgotten = Forgotten{Last: []ForgottenProducer{{stream.ProducerHash("p"), 0}, {1, 1_790_000_000_124}}, Millis: 1_790_000_000_123, Untimed: true}
	first := chain
	first.State = nil
	chunks, aboutChunks := sampleChunks(sampleSegmentOf([]byte("small")))
	noChunks, aboutNone := NewChunkWriter(Chunks{ID: 8}, 1).Finish()
	return []object{
		{"segment", segment.Encode(), func(b []byte) (any, error) { return Verify(b) },
			&Footer{Header: segment.Header, States: segment.States, Sections: segment.Sections()}},
		{"segment-zstd", zstd.Encode(), func(b []byte) (any, error) { return Verify(b) },
			&Footer{Header: zstd.Header, States: zstd.States, Sections: zstd.Sections()}},
		{"segment-empty", (&Segment{Header: sampled}).Encode(), func(b []byte) (any, error) { return Verify(b) },
			&Footer{Header: sampled}},
		{"seal", EncodeSeal(sampled, logB), func(b []byte) (any, error) {
			h, by, err := DecodeSeal(b)
			return sealed{h, by}, err
		}, sealed{sampled, logB}},
		{"chain-entry", chain.Encode(), func(b []byte) (any, error) { return DecodeChainEntry(b) }, chain},
		{"chain-entry-first", first.Encode(), func(b []byte) (any, error) { return DecodeChainEntry(b) }, first},
		{"state-forgotten", forgotten.Encode(), func(b []byte) (any, error) { return DecodeState(b) }, forgotten},
		{"state", state.Encode(), func(b []byte) (any, error) { return DecodeState(b) }, state},
		{"cluster", EncodeEnvelope(KindCluster, []byte("payload")), func(b []byte) (any, error) { return DecodeEnvelope(KindCluster, b) },
			[]byte("payload")},
		{"chunks", chunks, func(b []byte) (any, error) { return VerifyChunks(b, nil) }, aboutChunks},
		{"chunks-empty", noChunks, func(b []byte) (any, error) { return VerifyChunks(b, nil) }, aboutNone},
		{"gone", EncodeEnvelope(KindGone, nil), func(b []byte) (any, error) { return DecodeEnvelope(KindGone, b) }, []byte{}},
	}
}

// Stored objects outlive programs: these bytes never change. A new version gets
// files of its own, and these are still decoded.
func TestGolden(t *testing.T) {
	for _, o := range sampleObjects() {
		t.Run(o.name, func(t *testing.T) {
			path := filepath.Join("testdata", fmt.Sprintf("%s.v%d.bin", o.name, Version))
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(path, o.bytes, 0o644))
			}
			golden, err := os.ReadFile(path)
			require.NoError(t, err)

			if o.name != "segment-zstd" { // zstd may choose other bytes in another release
				require.Equal(t, golden, o.bytes)
				got, err := o.decode(golden)
				require.NoError(t, err)
				require.Equal(t, o.want, got)
				return
			}
			got, err := Verify(golden)
			require.NoError(t, err)
			requireSameContent(t, o.bytes, o.want.(*Footer), golden, got)
		})
	}
}

func requireSameContent(t *testing.T, a []byte, inA *Footer, b []byte, inB *Footer) {
	require.Equal(t, recordsOf(t, a, inA), recordsOf(t, b, inB))
	require.Equal(t, entriesOf(inA), entriesOf(inB))
}
