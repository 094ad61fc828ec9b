package shardlog

import (
	"fmt"
	"time"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A shard that this incarnation owns, takes or has handed over.
type shard struct {
	w      *Writer
	id     stream.Shard
	status status
	entry  segment.ChainEntry // the one that makes it ours, once owned

	durable *replica
	// live holds the streams that stand ahead of durable: those with batches or
	// entries on their way, and those that the catalog told of and that have no
	// entry yet.
	live map[stream.Name]*live
	// buried and buriedBuckets hold what has a tombstone on its way.
	buried        map[stream.ID]struct{}
	buriedBuckets map[stream.ID]struct{}
	lookups       map[stream.Name]*lookup
	// catalogVersion counts what makes an answer of the catalog stale.
	catalogVersion int

	taker   *taker
	waiting []Event // requests that came while the shard was being taken

	state stateWriter
	// partEnd is where our part of entry's epoch ends, once the hand-over entry is
	// durable; 0: it isn't.
	partEnd    stream.Slot
	handTags   []any
	reclaiming bool // a timer for it is set
	orphan     bool // it was handed over, and nobody has taken it
}

type status uint8

const (
	taking status = iota
	owned
	handing // accepts nothing new; the hand-over entry is on its way
	handed
)

// A live stream is what the next append is checked against.
type live struct {
	segment.StreamState // with everything accepted; Producers is unused
	// opened tells that the stream has its open entry, durable or on its way.
	opened bool
	// pending counts the batches and entries on their way.
	pending int
	// producers holds the batches of producers on their way.
	producers []flyingBatch
}

// A flyingBatch can be asked for again before it is durable.
type flyingBatch struct {
	segment.ProducerBatch
	group *group
}

func newShard(w *Writer, id stream.Shard) *shard {
	return &shard{
		w: w, id: id,
		live:          map[stream.Name]*live{},
		buried:        map[stream.ID]struct{}{},
		buriedBuckets: map[stream.ID]struct{}{},
		lookups:       map[stream.Name]*lookup{},
	}
}

// find returns the stream of that name as the next append sees it; nil if the
// shard holds none.
func (s *shard) find(name stream.Name) *live {
	if l := s.live[name]; l != nil {
		return l
	}
	st := s.durable.names[name]
	if st == nil {
		return nil
	}
	l := &live{StreamState: *st, opened: true}
	l.Producers = nil
	return l
}

// hold keeps l at hand while something of it is on its way.
func (s *shard) hold(l *live) {
	l.pending++
	s.live[l.Name] = l
}

// release undoes one hold. What became durable is in s.durable by now.
func (s *shard) release(l *live) {
	l.pending--
	if l.pending == 0 && s.live[l.Name] == l {
		delete(s.live, l.Name)
	}
}

// dead tells whether the stream has a tombstone, durable or on its way.
func (s *shard) dead(id, bucket stream.ID) bool {
	_, gone := s.buried[id]
	_, bucketGone := s.buriedBuckets[bucket]
	return gone || bucketGone || s.durable.buried(id, bucket)
}

func (s *shard) entryOf(kind segment.EntryKind) segment.Entry {
	return segment.Entry{Shard: s.id, Epoch: s.entry.Epoch, Kind: kind}
}

// abandon refuses whatever waits for the shard.
func (s *shard) abandon(err error) {
	for _, e := range s.waiting {
		s.w.refuse(e, notAppended(err))
	}
	for _, l := range s.lookups {
		for _, e := range l.waiting {
			s.w.refuse(e, notAppended(err))
		}
	}
	for _, tag := range s.handTags {
		s.w.fail(tag, err)
	}
	s.waiting, s.handTags = nil, nil
	clear(s.lookups)
	if s.taker != nil {
		s.taker.abandon(err)
	}
	if s.status == owned { // handing was told when it began
		s.w.do(Lost{Shard: s.id})
	}
}

// TagOf is the tag of a request.
func TagOf(e Event) any {
	switch e := e.(type) {
	case *Append:
		return e.Tag
	case Inspect:
		return e.Tag
	case Take:
		return e.Tag
	case HandOver:
		return e.Tag
	case Configure:
		return e.Tag
	case Tombstone:
		return e.Tag
	case TombstoneBucket:
		return e.Tag
	case Trim:
		return e.Tag
	case Survey:
		return e.Tag
	case Seal:
		return e.Tag
	}
	return nil
}

// serving returns the shard if this incarnation may serve it now. Otherwise it
// has dealt with the request: kept it until the takeover under way ends, or
// refused it.
func (w *Writer) serving(id stream.Shard, e Event) *shard {
	s := w.shards[id]
	switch {
	case s == nil || s.status == handing || s.status == handed:
		w.refuse(e, w.notOwner(id))
		return nil
	case s.status == taking:
		s.waiting = append(s.waiting, e)
		return nil
	}
	return s
}

func (w *Writer) notOwner(id stream.Shard) error {
	err := &NotOwnerError{Shard: id}
	if head, ok := w.heads[id]; ok && head.Instance != w.cfg.Instance {
		err.Head = &head
	}
	return err
}

// durable takes note of a slot that has landed: first the shards' states, then
// the driver; the caller answers the requests after that. An error says that what
// was accepted and what was written differ: a bug, and whoever replays the log
// will stumble too.
func (w *Writer) durable(f *flight) error {
	sections := f.group.segment.Sections()
	for i := range sections {
		s := w.shards[sections[i].Shard]
		if s == nil || s.entry.Epoch != sections[i].Epoch {
			continue
		}
		if err := s.durable.apply(&sections[i]); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrOutcomeUnknown, segment.SlotKey(w.cfg.Incarnation, f.slot), err)
		}
		s.state.passed(&sections[i])
	}
	w.landed = true
	w.do(Durable{Slot: f.slot, Segment: f.group.segment, Object: f.object()})
	return nil
}

// linger is how long a batch of a stream may wait for company.
func (w *Writer) linger(c stream.Config) time.Duration {
	if c.StorageClass == stream.StorageClassExpress {
		return 0
	}
	return w.cfg.StandardLinger
}

// resolve finds the stream that a request names, asking the catalog if the shard
// does not know it; nil: the request is dealt with or waits for the answer.
func (s *shard) resolve(name stream.Name, purpose Purpose, e Event) *live {
	if l := s.lookups[name]; l != nil { // keep the order of requests
		l.add(purpose, e)
		return nil
	}
	l := s.find(name)
	if l == nil {
		s.lookUp(name, purpose, e)
		return nil
	}
	if s.dead(l.ID, l.BucketID) {
		s.w.refuse(e, ErrDeleting)
		return nil
	}
	return l
}
