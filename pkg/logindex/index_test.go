package logindex

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// indexModel holds every block ever added, per stream.
type indexModel map[stream.ID][]Block

func (m indexModel) tail(id stream.ID) (next stream.SeqNum, timestamp uint64) {
	if n := len(m[id]); n > 0 {
		return m[id][n-1].Next(), m[id][n-1].LastTimestamp
	}
	return 0, 1
}

func testID(n int) stream.ID {
	var id stream.ID
	binary.BigEndian.PutUint32(id[:], uint32(n))
	return id
}

// addSlot adds a slot with a block or two of some streams.
func (m indexModel) addSlot(t *rapid.T, x *Index, log stream.Incarnation, at stream.Slot) {
	section := segment.Section{}
	for n := range 4 {
		id := testID(n)
		summary := segment.Summary{Stream: id}
		for range rapid.IntRange(0, 2).Draw(t, "blocks") {
			first, timestamp := m.tail(id)
			first += stream.SeqNum(rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 5}).Draw(t, "gap"))
			ref := segment.BlockRef{
				Offset: uint64(len(summary.Blocks)) * 10, Stored: 10, Raw: 20, Codec: segment.CodecZstd, Checksum: uint32(first),
				First: first, Count: uint32(rapid.IntRange(1, 3).Draw(t, "count")),
				FirstTimestamp: timestamp + uint64(rapid.IntRange(0, 2).Draw(t, "later")),
			}
			ref.LastTimestamp = ref.FirstTimestamp + uint64(rapid.IntRange(0, 2).Draw(t, "span"))
			summary.Blocks = append(summary.Blocks, ref)
			m[id] = append(m[id], Block{log, at, ref})
		}
		section.Streams = append(section.Streams, summary)
	}
	x.AddSection(log, at, section)
	if rapid.Bool().Draw(t, "again") {
		x.AddSection(log, at, section)
	}
}

func (m indexModel) check(t *rapid.T, x *Index) {
	for id, all := range m {
		first, end, ok := x.Covered(id)
		if !ok {
			continue
		}
		tail, _ := m.tail(id)
		require.Equal(t, tail, end)
		covered := all
		for covered[0].First != first {
			covered = covered[1:]
		}
		for i, want := range covered {
			span, ok := x.Lookup(id, want.Next()-1, 1)
			require.True(t, ok)
			require.Equal(t, []Block{want}, span.Blocks)
			if i > 0 {
				require.Equal(t, covered[i-1].Next(), want.First, "what is covered is consecutive")
			}
		}
		span, _ := x.Lookup(id, first, 1<<30)
		require.Equal(t, covered, span.Blocks)
		span, _ = x.Lookup(id, end, 1<<30)
		require.Empty(t, span.Blocks)
		if first > 0 {
			span, _ = x.Lookup(id, first-1, 1<<30)
			require.Empty(t, span.Blocks)
		}
		checkTimestamps(t, x, id, all, covered)
	}
}

func checkTimestamps(t *rapid.T, x *Index, id stream.ID, all, covered []Block) {
	for at := range covered[len(covered)-1].LastTimestamp + 2 {
		span, _ := x.LookupTimestamp(id, at, 1<<30)
		want := all
		for len(want) > 0 && want[0].LastTimestamp < at {
			want = want[1:]
		}
		if len(want) > len(covered) {
			require.True(t, span.Earlier, "an older block answers")
			continue
		}
		if len(want) == 0 {
			require.Empty(t, span.Blocks)
		} else {
			require.Equal(t, want, span.Blocks)
		}
	}
}

func TestIndex_AgreesWithAModelThatForgetsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := NewIndex(int64(rapid.IntRange(200, 20_000).Draw(t, "budget")))
		model := indexModel{}
		log := stream.NewIncarnation()
		for at := range stream.Slot(rapid.IntRange(1, 40).Draw(t, "slots")) {
			if rapid.IntRange(0, 9).Draw(t, "takeover") == 0 {
				log = stream.NewIncarnation()
			}
			model.addSlot(t, x, log, at)
			_, _, bytes := x.Size()
			require.LessOrEqual(t, bytes, x.maxBytes)
			if rapid.IntRange(0, 9).Draw(t, "trim") == 0 {
				tail, _ := model.tail(testID(0))
				x.Trim(testID(0), tail/2)
			}
			if rapid.IntRange(0, 19).Draw(t, "forget") == 0 {
				x.Forget(testID(1))
			}
		}
		model.check(t, x)
	})
}

func TestIndex_ReturnsToNothing(t *testing.T) {
	x := NewIndex(1 << 20)
	for n := range 100 {
		x.Add(testID(n%7), stream.Incarnation{1}, stream.Slot(n), []segment.BlockRef{{First: stream.SeqNum(n / 7), Count: 1, Stored: 1, Raw: 1}})
	}
	x.Forget(testID(3))
	x.Trim(testID(4), 1000)
	for len(x.slots) > 0 {
		x.dropOldestSlot()
	}
	streams, slots, bytes := x.Size()
	require.Zero(t, streams)
	require.Zero(t, slots)
	require.Zero(t, bytes)
}

// 100,000 streams with one block each; the figure counts the heap.
func BenchmarkIndex_BytesPerStream(b *testing.B) {
	const streams = 100_000
	for b.Loop() {
		before := heap()
		x := NewIndex(1 << 30)
		for n := range streams {
			x.Add(testID(n), stream.Incarnation{1}, stream.Slot(n/10_000), []segment.BlockRef{{First: 0, Count: 1, Stored: 100, Raw: 100}})
		}
		after := heap()
		_, _, accounted := x.Size()
		b.ReportMetric(float64(after-before)/streams, "heap-B/stream")
		b.ReportMetric(float64(accounted)/streams, "accounted-B/stream")
		runtime.KeepAlive(x)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkIndex_AddSection(b *testing.B) {
	const streams = 10_000
	x := NewIndex(64 << 20)
	section := segment.Section{Streams: make([]segment.Summary, streams)}
	for slot := stream.Slot(0); b.Loop(); slot++ {
		for n := range section.Streams {
			section.Streams[n] = segment.Summary{Stream: testID(n), Blocks: []segment.BlockRef{{First: stream.SeqNum(slot), Count: 1, Stored: 100, Raw: 100}}}
		}
		x.AddSection(stream.Incarnation{1}, slot, section)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/streams, "ns/block")
}
