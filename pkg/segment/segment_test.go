package segment

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

// The model: a segment that satisfies the writer's rules, and the records that
// its streams must give back.
type model struct {
	segment *Segment
	records map[stream.ID][]stream.Record
}

// lane is one stream of a model and where it stands.
type lane struct {
	shard     stream.Shard
	epoch     stream.Epoch
	id        stream.ID
	next      stream.SeqNum
	timestamp uint64
	idMillis  uint64
}

func drawModel(t *rapid.T) model {
	m := model{records: map[stream.ID][]stream.Record{}, segment: &Segment{
		Header: Header{
			Log: stream.Incarnation(drawID().Draw(t, "log")), Slot: stream.Slot(rapid.Uint64().Draw(t, "slot")),
			Window: rapid.Uint32().Draw(t, "window"),
		},
		Entries: rapid.SliceOfN(rapid.Custom(drawEntry), 0, 5).Draw(t, "entries"),
		States:  rapid.SliceOfN(rapid.Custom(drawStateRef), 0, 3).Draw(t, "states"),
	}}
	lanes := rapid.SliceOfNDistinct(rapid.Custom(drawLane), 1, 6, func(l *lane) stream.ID { return l.id }).Draw(t, "lanes")
	for range rapid.IntRange(0, 30).Draw(t, "batches") {
		m.add(t, lanes[rapid.IntRange(0, len(lanes)-1).Draw(t, "lane")])
	}
	return m
}

func drawID() *rapid.Generator[[16]byte] {
	return rapid.Custom(func(t *rapid.T) (id [16]byte) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return id
	})
}

func drawLane(t *rapid.T) *lane {
	return &lane{
		shard:     stream.Shard(rapid.Uint32Max(2).Draw(t, "shard")),
		epoch:     stream.Epoch(rapid.Uint64Max(2).Draw(t, "epoch")),
		id:        drawID().Draw(t, "stream"),
		next:      stream.SeqNum(rapid.Uint64Max(1<<47).Draw(t, "first")),
		timestamp: rapid.Uint64().Draw(t, "timestamp"),
		idMillis:  rapid.Uint64().Draw(t, "id_millis"),
	}
}

func drawStateRef(t *rapid.T) StateRef {
	return StateRef{
		Shard: stream.Shard(rapid.Uint32().Draw(t, "shard")),
		Epoch: stream.Epoch(rapid.Uint64().Draw(t, "epoch")),
		Slot:  stream.Slot(rapid.Uint64().Draw(t, "slot")),
	}
}

func drawConfig(t *rapid.T) stream.Config {
	return stream.Config{
		StorageClass:          stream.StorageClass(rapid.Uint8().Draw(t, "class")),
		TimestampingMode:      stream.TimestampingMode(rapid.Uint8().Draw(t, "mode")),
		AllowFutureTimestamps: rapid.Bool().Draw(t, "future"),
		RetentionSeconds:      rapid.Uint64().Draw(t, "retention"),
		DeleteOnEmptySeconds:  rapid.Uint64().Draw(t, "empty"),
	}
}

func drawName(t *rapid.T) stream.Name {
	return stream.Name{Bucket: rapid.String().Draw(t, "bucket"), Stream: rapid.String().Draw(t, "name")}
}

// drawEntry sets every field, so that those which a kind doesn't carry must go.
func drawEntry(t *rapid.T) Entry {
	return Entry{
		Shard:  stream.Shard(rapid.Uint32Max(2).Draw(t, "shard")),
		Epoch:  stream.Epoch(rapid.Uint64Max(2).Draw(t, "epoch")),
		Kind:   EntryKind(rapid.Uint8Range(1, uint8(EntryHandOver)).Draw(t, "kind")),
		Stream: drawID().Draw(t, "stream"), BucketID: drawID().Draw(t, "bucket"), Name: drawName(t),
		Config: drawConfig(t), ConfigVersion: rapid.Uint64().Draw(t, "version"),
		Trim: stream.SeqNum(rapid.Uint64().Draw(t, "trim")),
	}
}

// add appends a batch to the stream.
func (m model) add(t *rapid.T, l *lane) {
	l.idMillis += rapid.Uint64Max(min(1000, ^uint64(0)-l.idMillis)).Draw(t, "id_millis")
	b := Batch{Shard: l.shard, Epoch: l.epoch, Stream: l.id, First: l.next, IDMillis: l.idMillis}
	for range rapid.IntRange(1, 5).Draw(t, "records") {
		l.timestamp += rapid.Uint64Max(min(300, ^uint64(0)-l.timestamp)).Draw(t, "later")
		m.addRecord(t, &b, l)
	}
	if rapid.Bool().Draw(t, "producer") {
		b.ProducerID = rapid.SampledFrom([]string{"a", "b", "some-longer-producer"}).Draw(t, "producer_id")
		b.ProducerSeq = rapid.Uint64().Draw(t, "producer_seq")
	}
	if rapid.Bool().Draw(t, "fence") {
		b.Fence = new(rapid.StringN(0, 36, 36).Draw(t, "token"))
	}
	if rapid.Bool().Draw(t, "trim") {
		b.Trim = l.next
	}
	m.segment.Batches = append(m.segment.Batches, b)
}

func (m model) addRecord(t *rapid.T, b *Batch, l *lane) {
	body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
	if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
		body = bytes.Repeat(append(body, 1), 1+100<<10/(len(body)+1))
	}
	record := stream.Record{SeqNum: l.next, IDMillis: l.idMillis, Timestamp: l.timestamp, Body: body}
	var headers []*samsav1.Header
	for range rapid.IntRange(0, 2).Draw(t, "headers") {
		h := stream.Header{Name: rapid.SliceOf(rapid.Byte()).Draw(t, "name"), Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value")}
		record.Headers = append(record.Headers, h)
		headers = append(headers, &samsav1.Header{Name: h.Name, Value: h.Value})
	}
	b.Payload = AppendRecord(b.Payload, headers, body)
	b.Timestamps = append(b.Timestamps, l.timestamp)
	m.records[l.id] = append(m.records[l.id], record)
	l.next++
}

func TestSegment_GivesBackWhatWentIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		before := len(m.segment.Sections())
		object := m.segment.Encode()

		footer, err := Verify(object)

		require.NoError(t, err)
		require.Equal(t, m.segment.Header, footer.Header)
		require.Equal(t, m.segment.Sections(), footer.Sections)
		require.Equal(t, nonNil(m.segment.States), nonNil(footer.States))
		require.Len(t, footer.Sections, before)
		require.Equal(t, m.entries(), entriesOf(footer))
		got := recordsOf(t, object, footer)
		require.Len(t, got, len(m.records))
		for id, records := range m.records {
			requireSameRecords(t, records, got[id])
		}
		require.Equal(t, object, (&Segment{
			Header: m.segment.Header, Batches: m.segment.Batches, Entries: m.segment.Entries, States: m.segment.States,
		}).Encode())
	})
}

func nonNil[T any](list []T) []T { return append([]T{}, list...) }

func (m model) entries() []Entry {
	kept := []Entry{}
	for _, e := range m.segment.Entries {
		kept = append(kept, e.stored())
	}
	slices.SortStableFunc(kept, func(a, b Entry) int { return a.part().compare(b.part()) })
	return kept
}

func entriesOf(f *Footer) []Entry {
	all := []Entry{}
	for _, s := range f.Sections {
		all = append(all, s.Entries...)
	}
	return all
}

// recordsOf decodes every block of every stream.
func recordsOf(t require.TestingT, object []byte, f *Footer) map[stream.ID][]stream.Record {
	all := map[stream.ID][]stream.Record{}
	for _, section := range f.Sections {
		for _, s := range section.Streams {
			for _, ref := range s.Blocks {
				b, err := DecodeBlock(s.Stream, ref, object[ref.Offset:][:ref.Stored])
				require.NoError(t, err)
				all[s.Stream] = append(all[s.Stream], collect(b, ref.First)...)
			}
		}
	}
	return all
}

func collect(b *Block, from stream.SeqNum) (all []stream.Record) {
	for r := range b.From(from) {
		r.Headers = slices.Clone(r.Headers)
		all = append(all, r)
	}
	return all
}

// requireSameRecords holds nil and empty to be the same.
func requireSameRecords(t require.TestingT, want, got []stream.Record) {
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].SeqNum, got[i].SeqNum)
		require.Equal(t, want[i].IDMillis, got[i].IDMillis)
		require.Equal(t, want[i].Timestamp, got[i].Timestamp)
		require.True(t, bytes.Equal(want[i].Body, got[i].Body))
		require.Len(t, got[i].Headers, len(want[i].Headers))
		for j := range want[i].Headers {
			require.True(t, bytes.Equal(want[i].Headers[j].Name, got[i].Headers[j].Name))
			require.True(t, bytes.Equal(want[i].Headers[j].Value, got[i].Headers[j].Value))
		}
	}
}
