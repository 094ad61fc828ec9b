package segment

import (
	"encoding/binary"

	"github.com/samsa-io/samsa/pkg/stream"
)

// State is a shard as of a slot of one epoch's part.
type State struct {
	Shard            stream.Shard
	Epoch            stream.Epoch
	Slot             stream.Slot // the slots below it are included
	Streams          []StreamState
	Tombstones       []stream.ID
	BucketTombstones []stream.ID
}

// StreamState is all that an owner must know of a stream. Its salt follows from
// its ID.
type StreamState struct {
	ID            stream.ID
	BucketID      stream.ID
	Name          stream.Name
	Config        stream.Config
	ConfigVersion uint64
	Tail          stream.SeqNum
	LastTimestamp uint64
	LastIDMillis  uint64
	Fence         string
	Trim          stream.SeqNum
	// Producers holds the last batches of each, in order, at most
	// ProducerWindow; the least recently used producer comes first.
	Producers [][]ProducerBatch
	// Forgotten is about the producers that fell out of Producers.
	Forgotten Forgotten
}

// Forgotten tells what is left of producers that are not remembered any more.
type Forgotten struct {
	// Last has the last ones, oldest first.
	Last []ForgottenProducer
	// Of those that fell out of Last: the greatest Millis, and whether there was
	// any that has none.
	Millis  uint64
	Untimed bool
}

// ForgottenProducer is what is left of a producer.
type ForgottenProducer struct {
	Hash   uint64 // stream.ProducerHash
	Millis uint64 // stream.ProducerTime; 0: none
}

func (f *Forgotten) isZero() bool { return len(f.Last) == 0 && f.Millis == 0 && !f.Untimed }

// Ref names the object.
func (s *State) Ref() StateRef { return StateRef{Shard: s.Shard, Epoch: s.Epoch, Slot: s.Slot} }

// What a stream's state has, and what it shares with the one before it.
const (
	stateSameBucket byte = 1 << iota
	stateSameConfig
	stateFence
	stateTrim
	stateProducers
	stateForgotten
)

const (
	minStreamState   = 16 + 6
	minStateProducer = 2 + 6
	minForgotten     = 8 + 1
)

// Encode makes the object that stands under the state's key.
func (s *State) Encode() []byte {
	dst := openEnvelope(make([]byte, 0, 256+128*len(s.Streams)), KindState)
	dst = appendStateRef(dst, s.Ref())
	dst = binary.AppendUvarint(dst, uint64(len(s.Streams)))
	previous := &StreamState{}
	for i := range s.Streams {
		dst = appendStreamState(dst, &s.Streams[i], previous)
		previous = &s.Streams[i]
	}
	dst = appendIDs(dst, s.Tombstones)
	dst = appendIDs(dst, s.BucketTombstones)
	return closeEnvelope(dst)
}

func (s *StreamState) flags(previous *StreamState) (f byte) {
	if s.BucketID == previous.BucketID && s.Name.Bucket == previous.Name.Bucket {
		f |= stateSameBucket
	}
	if s.Config == previous.Config {
		f |= stateSameConfig
	}
	if s.Fence != "" {
		f |= stateFence
	}
	if s.Trim != 0 {
		f |= stateTrim
	}
	if len(s.Producers) > 0 {
		f |= stateProducers
	}
	if !s.Forgotten.isZero() {
		f |= stateForgotten
	}
	return f
}

func appendStreamState(dst []byte, s, previous *StreamState) []byte {
	flags := s.flags(previous)
	dst = append(dst, flags)
	dst = append(dst, s.ID[:]...)
	if flags&stateSameBucket == 0 {
		dst = append(dst, s.BucketID[:]...)
		dst = appendString(dst, s.Name.Bucket)
	}
	dst = appendString(dst, s.Name.Stream)
	if flags&stateSameConfig == 0 {
		dst = appendConfig(dst, s.Config)
	}
	dst = binary.AppendUvarint(dst, s.ConfigVersion)
	dst = binary.AppendUvarint(dst, uint64(s.Tail))
	dst = binary.AppendUvarint(dst, s.LastTimestamp)
	dst = appendDelta(dst, s.LastTimestamp, s.LastIDMillis)
	if flags&stateFence != 0 {
		dst = appendString(dst, s.Fence)
	}
	if flags&stateTrim != 0 {
		dst = binary.AppendUvarint(dst, uint64(s.Trim))
	}
	if flags&stateProducers != 0 {
		dst = s.appendProducers(dst)
	}
	if flags&stateForgotten != 0 {
		dst = appendForgotten(dst, &s.Forgotten)
	}
	return dst
}

func appendForgotten(dst []byte, f *Forgotten) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(f.Last)))
	for _, p := range f.Last {
		dst = binary.LittleEndian.AppendUint64(dst, p.Hash)
		dst = binary.AppendUvarint(dst, p.Millis)
	}
	dst = binary.AppendUvarint(dst, f.Millis)
	if f.Untimed {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func (s *StreamState) appendProducers(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.Producers)))
	for _, batches := range s.Producers {
		if len(batches) == 0 {
			panic("segment: stream " + s.ID.String() + ": a producer without batches")
		}
		dst = appendString(dst, batches[0].ID)
		dst = binary.AppendUvarint(dst, uint64(len(batches)))
		previous := s.beforeProducer()
		for _, p := range batches {
			dst = appendProducerBatch(dst, p, previous)
			previous = p
		}
	}
	return dst
}

// beforeProducer is what a producer's first batch is written relative to.
func (s *StreamState) beforeProducer() ProducerBatch {
	return ProducerBatch{First: s.Tail, IDMillis: s.LastIDMillis, LastTimestamp: s.LastTimestamp}
}

func appendIDs(dst []byte, ids []stream.ID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		dst = append(dst, id[:]...)
	}
	return dst
}

// DecodeState reads what Encode made.
func DecodeState(object []byte) (*State, error) {
	payload, err := DecodeEnvelope(KindState, object)
	if err != nil {
		return nil, err
	}
	return decodeState(payload)
}

func decodeState(payload []byte) (*State, error) {
	r := &reader{b: payload, what: "state"}
	ref := r.stateRef()
	s := &State{Shard: ref.Shard, Epoch: ref.Epoch, Slot: ref.Slot}
	s.Streams = items[StreamState](r.count(minStreamState))
	previous := &StreamState{}
	for i := range s.Streams {
		r.streamState(&s.Streams[i], previous)
		previous = &s.Streams[i]
	}
	s.Tombstones = r.ids()
	s.BucketTombstones = r.ids()
	if err := r.done(); err != nil {
		return nil, err
	}
	return s, nil
}

func (r *reader) streamState(s, previous *StreamState) {
	flags := r.byte()
	s.ID = r.id()
	s.BucketID, s.Name.Bucket = previous.BucketID, previous.Name.Bucket
	if flags&stateSameBucket == 0 {
		s.BucketID = r.id()
		s.Name.Bucket = r.string()
	}
	s.Name.Stream = r.string()
	s.Config = previous.Config
	if flags&stateSameConfig == 0 {
		s.Config = r.config()
	}
	s.ConfigVersion = r.uvarint()
	s.Tail = stream.SeqNum(r.uvarint())
	s.LastTimestamp = r.uvarint()
	s.LastIDMillis = r.delta(s.LastTimestamp)
	if flags&stateFence != 0 {
		s.Fence = r.string()
	}
	if flags&stateTrim != 0 {
		s.Trim = stream.SeqNum(r.uvarint())
	}
	if flags&stateProducers != 0 {
		r.stateProducers(s)
	}
	if flags&stateForgotten != 0 {
		r.forgotten(&s.Forgotten)
	}
	if r.err == nil && s.flags(previous) != flags {
		r.failf("flags %#x of stream %s", flags, s.ID)
	}
}

func (r *reader) stateProducers(s *StreamState) {
	s.Producers = items[[]ProducerBatch](r.count(minStateProducer))
	for i := range s.Producers {
		id := r.string()
		batches := items[ProducerBatch](r.count(minProducer - 1))
		if len(batches) == 0 {
			r.failf("stream %s: a producer without batches", s.ID)
		}
		previous := s.beforeProducer()
		for j := range batches {
			batches[j] = r.producerBatch(id, previous)
			previous = batches[j]
		}
		s.Producers[i] = batches
	}
}

func (r *reader) forgotten(f *Forgotten) {
	f.Last = items[ForgottenProducer](r.count(minForgotten))
	for i := range f.Last {
		if b := r.take(8); len(b) == 8 {
			f.Last[i].Hash = binary.LittleEndian.Uint64(b)
		}
		f.Last[i].Millis = r.uvarint()
	}
	f.Millis = r.uvarint()
	untimed := r.byte()
	if untimed > 1 {
		r.failf("forgotten producers: %d where 0 or 1 is due", untimed)
	}
	f.Untimed = untimed == 1
}

func (r *reader) ids() []stream.ID {
	ids := items[stream.ID](r.count(16))
	for i := range ids {
		ids[i] = r.id()
	}
	return ids
}
