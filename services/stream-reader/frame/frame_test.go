package frame_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
)

// block makes a decoded block of the given records, all of one batch.
func block(t require.TestingT, id stream.ID, first stream.SeqNum, millis uint64, records []*samsav1.SequencedRecord) *segment.Block {
	b := segment.Batch{Stream: id, First: first, IDMillis: millis}
	for i, r := range records {
		seq := first + stream.SeqNum(i)
		r.SeqNum, r.SeqId = uint64(seq), stream.NewSeqID(millis, seq, id.Salt()).String()
		b.Timestamps = append(b.Timestamps, r.Timestamp)
		b.Payload = segment.AppendRecord(b.Payload, r.Headers, r.Body)
	}
	s := segment.Segment{Batches: []segment.Batch{b}}
	body := s.Encode()
	ref := s.Sections()[0].Streams[0].Blocks[0]
	decoded, err := segment.DecodeBlock(id, ref, body[ref.Offset:ref.Offset+uint64(ref.Stored)])
	require.NoError(t, err)
	return decoded
}

func drawRecords(t *rapid.T) []*samsav1.SequencedRecord {
	timestamp := rapid.Uint64Max(3).Draw(t, "timestamp")
	var out []*samsav1.SequencedRecord
	for range rapid.IntRange(1, 12).Draw(t, "records") {
		timestamp += rapid.Uint64Max(200).Draw(t, "later")
		r := &samsav1.SequencedRecord{Timestamp: timestamp, Body: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "body")}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			r.Headers = append(r.Headers, &samsav1.Header{
				Name:  rapid.SliceOfN(rapid.Byte(), 0, 140).Draw(t, "name"),
				Value: rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "value"),
			})
		}
		out = append(out, r)
	}
	return out
}

// metered is the contract's formula, written anew.
func metered(r *samsav1.SequencedRecord) uint64 {
	n := 8 + 2*len(r.Headers) + len(r.Body)
	for _, h := range r.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return uint64(n)
}

func requireRecords(t require.TestingT, want []*samsav1.SequencedRecord, f *frame.Frame) {
	if len(want) == 0 {
		require.Nil(t, f)
		return
	}
	require.NotNil(t, f)
	expected := &samsav1.ReadSessionResponse{Output: &samsav1.ReadOutput{
		Output: &samsav1.ReadOutput_Batch{Batch: &samsav1.SequencedRecordBatch{Records: want}}}}
	got := &samsav1.ReadSessionResponse{}
	require.NoError(t, proto.Unmarshal(f.Session(), got))
	require.True(t, proto.Equal(expected, got), "want %v\ngot %v", expected, got)
	canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(expected)
	require.NoError(t, err)
	require.Equal(t, canonical, f.Session(), "the bytes are those of the protobuf library")

	unary := &samsav1.ReadResponse{}
	require.NoError(t, proto.Unmarshal(f.Batch(), unary))
	require.True(t, proto.Equal(expected.Output.GetBatch(), unary.GetBatch()))

	require.EqualValues(t, len(want), f.Count)
	require.EqualValues(t, want[0].SeqNum, f.First)
	require.EqualValues(t, want[len(want)-1].SeqNum+1, f.Next)
	require.EqualValues(t, want[0].Timestamp, f.FirstTimestamp)
	require.EqualValues(t, want[len(want)-1].Timestamp, f.LastTimestamp)
	var total uint64
	for _, r := range want {
		total += metered(r)
	}
	require.Equal(t, total, f.Metered)
}

func TestEncode_WritesWhatTheProtobufLibraryWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		first := stream.SeqNum(rapid.Uint64Max(1<<47).Draw(t, "first"))
		b := block(t, stream.NewID(), first, rapid.Uint64Max(1<<47).Draw(t, "millis"), records)
		skip := rapid.IntRange(0, len(records)-1).Draw(t, "skip")

		frames := frame.Encode(b, first+stream.SeqNum(skip), frame.MaxBytes)

		require.Len(t, frames, 1)
		requireRecords(t, records[skip:], frames[0])
	})
}

// limited is the contract's limits, written anew for a list of records.
func limited(records []*samsav1.SequencedRecord, l frame.Limits) []*samsav1.SequencedRecord {
	var out []*samsav1.SequencedRecord
	var used uint64
	for _, r := range records {
		if l.Until != nil && r.Timestamp >= *l.Until || uint64(len(out)) == l.Count || l.Bytes == 0 {
			break
		}
		if r.Timestamp < l.Since {
			continue
		}
		if len(out) > 0 && l.Bytes != frame.Unlimited && used+metered(r) > l.Bytes {
			break
		}
		used += metered(r)
		out = append(out, r)
	}
	return out
}

func drawLimits(t *rapid.T, last uint64) frame.Limits {
	l := frame.NoLimits()
	if rapid.Bool().Draw(t, "limit count") {
		l.Count = rapid.Uint64Max(12).Draw(t, "count")
	}
	if rapid.Bool().Draw(t, "limit bytes") {
		l.Bytes = rapid.Uint64Max(1000).Draw(t, "bytes")
	}
	if rapid.Bool().Draw(t, "limit until") {
		until := rapid.Uint64Max(last+2).Draw(t, "until")
		l.Until = &until
	}
	if rapid.Bool().Draw(t, "limit since") {
		l.Since = rapid.Uint64Max(last+2).Draw(t, "since")
	}
	return l
}

func TestCut_TakesExactlyWhatTheLimitsAllow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		id := stream.NewID()
		whole := frame.Encode(block(t, id, 5, 77, records), 5, frame.MaxBytes)[0]
		limits := drawLimits(t, records[len(records)-1].Timestamp)
		skip := rapid.IntRange(0, len(records)).Draw(t, "skip")

		cut := whole.Cut(5+stream.SeqNum(skip), frame.NewBudget(limits))

		requireRecords(t, limited(records[skip:], limits), cut)
	})
}

func TestBuilder_TakesExactlyWhatTheLimitsAllow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		id := stream.NewID()
		limits := drawLimits(t, records[len(records)-1].Timestamp)
		budget := frame.NewBudget(limits)
		builder := frame.NewBuilder(id.Salt(), nil, frame.MaxBytes)

		for r := range block(t, id, 5, 77, records).All() {
			if !builder.Add(&r, budget) {
				require.False(t, builder.Full())
				break
			}
		}

		requireRecords(t, limited(records, limits), builder.Finish())
	})
}

func TestJoin_KeepsAllRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := stream.NewID()
		var all []*samsav1.SequencedRecord
		var frames []*frame.Frame
		for range rapid.IntRange(1, 4).Draw(t, "frames") {
			records := drawRecords(t)
			frames = append(frames, frame.Encode(block(t, id, stream.SeqNum(len(all)), 77, records), 0, frame.MaxBytes)...)
			all = append(all, records...)
		}

		requireRecords(t, all, frame.Join(frames))
	})
}

func TestEncode_CutsAtAMebibyte(t *testing.T) {
	var records []*samsav1.SequencedRecord
	for range 40 {
		records = append(records, &samsav1.SequencedRecord{Timestamp: 1, Body: make([]byte, 100<<10)})
	}

	frames := frame.Encode(block(t, stream.NewID(), 0, 1, records), 0, frame.MaxBytes)

	require.Len(t, frames, 4)
	next := stream.SeqNum(0)
	for _, f := range frames {
		require.Equal(t, next, f.First)
		require.LessOrEqual(t, len(f.Session()), 1<<20)
		next = f.Next
	}
	require.EqualValues(t, 40, next)
}

func TestEncode_CutsWhereItIsTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		most := rapid.IntRange(1, 1000).Draw(t, "most")

		frames := frame.Encode(block(t, stream.NewID(), 0, 1, records), 0, most)

		for i, f := range frames {
			require.True(t, f.Size() <= most || f.Count == 1, "%d bytes of at most %d", f.Size(), most)
			require.True(t, i == 0 || frames[i-1].Next == f.First)
		}
		requireRecords(t, records, frame.Join(frames))
	})
}

func BenchmarkEncode(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			var records []*samsav1.SequencedRecord
			for range (256 << 10) / size {
				records = append(records, &samsav1.SequencedRecord{Timestamp: 1_700_000_000_000, Body: make([]byte, size)})
			}
			block := block(b, stream.NewID(), 1_000_000, 1_700_000_000_000, records)
			buffer := make([]byte, 0, frame.MaxBytes)
			b.SetBytes(int64(len(records) * size))
			for b.Loop() {
				builder := frame.NewBuilder(1, buffer, frame.MaxBytes)
				budget := frame.NewBudget(frame.NoLimits())
				for r := range block.All() {
					builder.Add(&r, budget)
				}
				builder.Finish()
			}
			b.ReportMetric(float64(len(records)*b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
