package shardlog

import (
	"slices"
	"time"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// handOver lets a shard go. From the request on nothing new is accepted and no
// answer about the shard is begun; the part ends behind the hand-over entry, so
// once that is durable whoever asks learns the same end.
func (w *Writer) handOver(h HandOver) {
	s := w.shards[h.Shard]
	switch {
	case s == nil || w.cfg.Incarnation != h.Incarnation:
		w.fail(h.Tag, w.notOwner(h.Shard))
	case s.partEnd != 0 && s.entry.Epoch == h.Epoch:
		w.do(Reply{Tag: h.Tag, End: s.partEnd})
	case s.status == taking: // perhaps with the very entry that the other has read
		s.waiting = append(s.waiting, h)
	case s.entry.Epoch != h.Epoch:
		w.fail(h.Tag, w.notOwner(h.Shard))
	case s.status == handing:
		s.handTags = append(s.handTags, h.Tag)
	default:
		s.status = handing
		s.handTags = append(s.handTags, h.Tag)
		s.refuseLookups()
		w.do(Lost{Shard: s.id})
		w.log.addEntry(s.entryOf(segment.EntryHandOver), s.handedOver)
	}
}

// refuseLookups sends away who waits for the catalog: nothing of theirs was
// accepted.
func (s *shard) refuseLookups() {
	lookups := s.lookups
	s.lookups = map[stream.Name]*lookup{}
	for _, l := range lookups {
		for _, e := range l.waiting {
			s.w.refuse(e, s.w.notOwner(s.id))
		}
	}
}

func (s *shard) handedOver(err error) {
	if err != nil {
		return // dying; abandon answers the tags
	}
	s.status, s.partEnd = handed, s.w.log.durable
	for _, tag := range s.handTags {
		s.w.do(Reply{Tag: tag, End: s.partEnd})
	}
	s.handTags = nil
	s.reclaimSoon()
}

// reclaimDelay is how long an owner that has let a shard go waits for a
// successor.
const reclaimDelay = time.Second

func (s *shard) reclaimSoon() {
	if !s.reclaiming {
		s.reclaiming = true
		s.w.after(reclaimDelay, s.reclaim)
	}
}

// reclaim takes the shard again if nobody has, so that it is not left without an
// owner when whoever asked for it has died.
func (s *shard) reclaim() {
	s.reclaiming = false
	if s.status != handed {
		return
	}
	s.w.findHead(s.id, 0, func(head *segment.ChainEntry, err error) {
		switch {
		case s.status != handed:
		case err != nil:
			s.reclaimSoon()
		case head.Owner == s.w.cfg.Incarnation && head.Epoch == s.entry.Epoch && s.w.forwards:
			s.orphan = true // for the next incarnation to take
			s.reclaimSoon()
		case head.Owner != s.w.cfg.Incarnation || head.Epoch != s.entry.Epoch:
			s.w.dropShard(s)
		case !s.w.takesNothing():
			s.beTaken(&taker{back: true, planned: true}, 0)
		}
	})
}

func (w *Writer) addShard(s *shard) {
	w.shards[s.id] = s
	w.sortShards()
}

func (w *Writer) dropShard(s *shard) {
	delete(w.shards, s.id)
	w.sortShards()
}

func (w *Writer) sortShards() {
	w.order = w.order[:0]
	for id := range w.shards {
		w.order = append(w.order, id)
	}
	slices.Sort(w.order)
}
