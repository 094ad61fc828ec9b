package sim

import (
	"errors"
	"time"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// life is what clients were told of one stream, from its creation to its end.
type life struct {
	id   stream.ID
	name stream.Name
	// records is what is known of each position: 0 where nothing is.
	records []recordID
	where   map[recordID]stream.SeqNum
	refused map[uint64]bool // batches that were definitely not appended

	tail      stream.SeqNum          // above everything acknowledged
	trim      stream.SeqNum          // acknowledged
	trimAsked stream.SeqNum          // the highest one anybody ever asked for
	trims     map[stream.SeqNum]bool // asked for
	inherited stream.SeqNum          // the highest one asked for by a command that was meant for a stream of that name before
	version   uint64                 // of the configuration in effect
	token     int                    // the fencing token acknowledged, a number
	fencing   bool                   // a new token may be on its way, or have come to be without an answer
	deleting  bool
	dead      bool // the tombstone was acknowledged
	ended     time.Time
}

// recordID tells records apart: the batch, and the place in it.
type recordID uint64

func newRecordID(batch uint64, place int) recordID { return recordID(batch<<8 | uint64(place)) }

func (r recordID) batch() uint64 { return uint64(r) >> 8 }

// model is all lives.
type model struct {
	w      *World
	lives  map[stream.ID]*life
	bySalt map[stream.Salt]*life
	order  []*life
}

func (m *model) add(name stream.Name, id stream.ID) *life {
	l := &life{
		id: id, name: name, where: map[recordID]stream.SeqNum{}, refused: map[uint64]bool{}, trims: map[stream.SeqNum]bool{}, version: 1,
	}
	m.lives[id], m.bySalt[id.Salt()] = l, l
	m.order = append(m.order, l)
	return l
}

func (l *life) askTrim(to stream.SeqNum) {
	l.trimAsked = max(l.trimAsked, to)
	l.trims[to] = true
}

// follows tells whether a reader may go on at a position when the next one is another:
// if the stream may have been trimmed up to there.
func (l *life) follows(next, at stream.SeqNum) bool {
	return at == next || at > next && (l.trims[at] || at <= l.inherited)
}

// see takes note that a record stands at a position.
func (m *model) see(l *life, at stream.SeqNum, r recordID, how string) {
	for stream.SeqNum(len(l.records)) <= at {
		l.records = append(l.records, 0)
	}
	known := l.records[at]
	m.w.mustf(known == 0 || known == r, "I5: stream %s: %s has record %x at %d, where %x was", l.id, how, r, at, known)
	before, twice := l.where[r]
	m.w.mustf(!twice || before == at, "I11: stream %s: record %x is at %d and at %d (%s)", l.id, r, before, at, how)
	m.w.mustf(!l.refused[r.batch()], "I11: stream %s: batch %d was refused and is there at %d (%s)", l.id, r.batch(), at, how)
	l.records[at], l.where[r] = r, at
}

// acknowledged takes note of an ack.
func (m *model) acknowledged(batch uint64, ack shardlog.Ack) *life {
	l := m.lives[ack.Stream]
	m.w.mustf(l != nil, "an ack of an unknown stream %s", ack.Stream)
	for i := range int(ack.Count) {
		m.see(l, ack.First+stream.SeqNum(i), newRecordID(batch, i), "an acknowledgement")
	}
	l.tail = max(l.tail, ack.First+stream.SeqNum(ack.Count))
	m.w.stats.Acked++
	return l
}

// failed takes note of a refusal.
func (m *model) failed(name stream.Name, batch uint64, floor stream.SeqNum, err error) {
	if errors.Is(err, shardlog.ErrOutcomeUnknown) {
		return
	}
	var condition *shardlog.ConditionError
	if errors.As(err, &condition) && condition.Failed != shardlog.FencingToken {
		m.w.mustf(condition.NextSeqNum >= floor, "I6: a refusal names tail %d and hides what was acknowledged up to %d", condition.NextSeqNum, floor)
	}
	for _, l := range m.order {
		if l.name == name {
			_, there := l.where[newRecordID(batch, 0)]
			m.w.mustf(!there, "I11: batch %d is refused (%v) and is there", batch, err)
			l.refused[batch] = true
		}
	}
}

// payload makes the records of a batch.
func payload(batch uint64, count int) (out []byte) {
	for i := range count {
		out = segment.AppendRecord(out, nil, encodeID(newRecordID(batch, i)))
	}
	return out
}
