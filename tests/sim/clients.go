package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

func encodeID(r recordID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(r)) }

// batch makes an append of 1 to 4 records with an id of its own.
func (s *Sim) batch(name stream.Name) (uint64, *shardlog.Append) {
	s.lastBatch++
	s.stats.Appends++
	return s.lastBatch, appendOf(name, s.lastBatch, 1+int(s.lastBatch%4))
}

func appendOf(name stream.Name, id uint64, count int) *shardlog.Append {
	a := &shardlog.Append{Name: name, Count: uint32(count), Payload: payload(id, count)}
	for range count {
		a.Timestamps = append(a.Timestamps, shardlog.NoTimestamp)
	}
	return a
}

// append sends a batch of a client without a session, sometimes with a position
// that it must get.
func (s *Sim) append() {
	name := s.streams[s.rng.IntN(len(s.streams))]
	l := s.model.lives[s.rows[name].ID]
	id, a := s.batch(name)
	floor := l.tail
	if s.rng.IntN(4) == 0 {
		a.MatchSeqNum = &floor
	}
	a.Tag = func(r shardlog.Reply) {
		if r.Err != nil {
			s.model.failed(name, id, floor, r.Err)
			return
		}
		s.mustf(a.MatchSeqNum == nil || r.Ack.First == floor, "an append that was to stand at %d stands at %d", floor, r.Ack.First)
		s.mustf(r.Ack.First >= floor, "I4: batch %d got position %d, below the tail %d that was acknowledged before", id, r.Ack.First, floor)
		s.model.acknowledged(id, r.Ack)
	}
	s.writerFor(name).handle(a)
}

// producer is a client that sends numbered batches through a session, a few in
// flight, and sends whatever was not acknowledged again after a failure.
type producer struct {
	s        *Sim
	name     stream.Name
	id       string
	to       *writer
	session  *shardlog.Session
	attempt  int // counts sessions
	acked    int
	sent     int
	failed   int // the first batch of the session that failed: all after it must
	batches  []uint64
	first    []uint64 // the producer_seq of each batch
	acks     []shardlog.Ack
	finished bool // sends nothing new
}

const producerDepth = 3

// pump sends what there is room for.
func (p *producer) pump() {
	if p.to == nil || p.to.dead {
		p.reopen()
	}
	for p.sent < p.acked+producerDepth && (!p.finished || p.sent < len(p.batches)) {
		if p.sent == len(p.batches) {
			p.add()
		}
		at, attempt := p.sent, p.attempt
		a := appendOf(p.name, p.batches[at], countOf(p.batches[at]))
		a.Session, a.ProducerID, a.ProducerSeq = p.session, p.id, p.first[at]
		a.Tag = func(r shardlog.Reply) { p.answered(at, attempt, r) }
		p.sent++
		p.to.handle(a)
	}
}

func countOf(batch uint64) int { return 1 + int(batch%4) }

func (p *producer) add() {
	id, _ := p.s.batch(p.name)
	var seq uint64
	if n := len(p.batches); n > 0 {
		seq = p.first[n-1] + uint64(countOf(p.batches[n-1]))
	}
	p.batches, p.first, p.acks = append(p.batches, id), append(p.first, seq), append(p.acks, shardlog.Ack{})
}

// reopen begins a session with some writer and forgets what is in flight.
func (p *producer) reopen() {
	p.attempt++
	p.to, p.session, p.failed = p.s.writerFor(p.name), &shardlog.Session{}, math.MaxInt
	p.sent = p.acked
}

func (p *producer) answered(at, attempt int, r shardlog.Reply) {
	var gap *shardlog.ProducerGapError
	p.s.mustf(!errors.As(r.Err, &gap) || at >= p.acked || gap.Expected >= p.first[p.acked-1], "the stream forgot acknowledged batches of a producer")
	if r.Err == nil {
		p.s.mustf(p.acks[at].Count == 0 || p.acks[at] == r.Ack, "I11: a repeated batch got another answer: %v, %v", p.acks[at], r.Ack)
		p.acks[at] = r.Ack
		p.s.model.acknowledged(p.batches[at], r.Ack)
	}
	if attempt != p.attempt {
		return
	}
	if r.Err != nil {
		p.failed = min(p.failed, at)
		p.s.after(p.s.lag(), "reopen "+p.id, func() {
			if attempt == p.attempt {
				p.reopen()
				p.pump()
			}
		})
		return
	}
	p.s.mustf(at < p.failed, "I11: a batch was acknowledged after an earlier one of its session had failed")
	p.s.mustf(at == p.acked, "I11: a session's acknowledgements are out of order")
	p.acked++
}

// sender is a client that sends plain batches through a session, some of which have to
// be refused.
type sender struct {
	s       *Sim
	name    stream.Name
	to      *writer
	session *shardlog.Session
	sent    int
	failed  int // the first batch of the session that failed: all after it must
	acked   int // the last one that did not
}

func (c *sender) send() {
	if c.to == nil || c.to.dead || c.failed < math.MaxInt {
		c.to, c.session = c.s.writerFor(c.name), &shardlog.Session{}
		c.sent, c.failed, c.acked = 0, math.MaxInt, -1
	}
	for range 1 + c.s.rng.IntN(3) {
		id, a := c.s.batch(c.name)
		floor, at, session := c.s.model.lives[c.s.rows[c.name].ID].tail, c.sent, c.session
		if c.s.rng.IntN(6) == 0 {
			wrong := floor + 1_000_000
			a.MatchSeqNum = &wrong
		}
		a.Session = session
		a.Tag = func(r shardlog.Reply) {
			if r.Err != nil {
				c.s.model.failed(c.name, id, floor, r.Err)
			} else {
				c.s.mustf(a.MatchSeqNum == nil, "an append with a position that is far beyond the tail stands at %d", r.Ack.First)
				c.s.model.acknowledged(id, r.Ack)
			}
			if session == c.session {
				c.answered(at, r.Err)
			}
		}
		c.sent++
		c.to.handle(a)
	}
}

func (c *sender) answered(at int, err error) {
	if err != nil {
		c.failed = min(c.failed, at)
	} else {
		c.acked = max(c.acked, at)
	}
	c.s.mustf(c.acked < c.failed, "I11: batch %d of a session was acknowledged, batch %d was refused", c.acked, c.failed)
}

// unary is a client without a session that sends a producer's batches one by one,
// and each of them to several writers until one acknowledges it.
type unary struct {
	s     *Sim
	name  stream.Name
	id    string
	seq   uint64
	batch uint64 // 0: the next one is yet to be made
	ack   shardlog.Ack
}

func (u *unary) send() {
	if u.batch == 0 || u.ack.Count > 0 {
		u.seq += uint64(u.ack.Count)
		u.batch, _ = u.s.batch(u.name)
		u.ack = shardlog.Ack{}
	}
	for range 1 + u.s.rng.IntN(2) {
		id, seq := u.batch, u.seq
		a := appendOf(u.name, id, countOf(id))
		a.ProducerID, a.ProducerSeq = u.id, seq
		a.Tag = func(r shardlog.Reply) { u.answered(id, r) }
		u.s.writerFor(u.name).handle(a)
	}
}

func (u *unary) answered(id uint64, r shardlog.Reply) {
	var gap *shardlog.ProducerGapError
	u.s.mustf(!errors.As(r.Err, &gap), "a producer that leaves nothing out has a gap: %v", r.Err)
	if r.Err != nil {
		return
	}
	u.s.model.acknowledged(id, r.Ack)
	if id == u.batch {
		u.s.mustf(u.ack.Count == 0 || u.ack == r.Ack, "I11: a repeated batch got another answer: %v, %v", u.ack, r.Ack)
		u.ack = r.Ack
	}
}

// inspect asks for a proved tail.
func (s *Sim) inspect(n *writer, name stream.Name) {
	then := s.before(name)
	n.handle(shardlog.Inspect{Name: name, Prove: true, Tag: func(r shardlog.Reply) {
		if r.Err != nil {
			return
		}
		for _, was := range then {
			if was.id != r.View.ID {
				continue
			}
			s.mustf(!was.dead, "I6: a stream is seen after its delete has returned")
			s.mustf(r.View.Tail >= was.tail, "I6: a proved tail %d hides what was acknowledged up to %d", r.View.Tail, was.tail)
			s.mustf(r.View.Trim >= was.trim, "I6: a trim point was forgotten")
			s.mustf(r.View.Config.RetentionSeconds >= was.version, "I6: a configuration was forgotten")
		}
	}})
}

// before is what was promised of a name when a request is sent.
func (s *Sim) before(name stream.Name) (then []life) {
	for _, l := range s.model.order {
		if l.name == name {
			then = append(then, *l)
		}
	}
	return then
}

// tenant does something to a stream that is configured, trimmed, fenced, deleted and
// made anew under the same name. What was promised before a request was sent is
// compared with what it is told.
func (s *Sim) tenant() {
	name := s.tenants[s.rng.IntN(len(s.tenants))]
	n := s.writerFor(name)
	row := s.rows[name]
	l := s.model.lives[row.ID]
	switch roll := s.rng.IntN(20); {
	case roll < 8:
		s.tenantAppend(n, name, nil)
	case roll < 13:
		s.inspect(n, name)
	case l == nil: // being deleted
	case roll == 13:
		s.delete(n, l)
	case roll == 14:
		s.configure(n, l)
	case roll == 15:
		s.trim(n, l)
	default:
		s.fence(n, l)
	}
}

func (s *Sim) tenantAppend(n *writer, name stream.Name, edit func(*shardlog.Append)) {
	id, a := s.batch(name)
	if edit != nil {
		edit(a)
	}
	then, asked := s.before(name), a.FencingToken
	a.Tag = func(r shardlog.Reply) {
		if r.Err != nil {
			return
		}
		for _, was := range then {
			if was.id != r.Ack.Stream {
				continue
			}
			s.mustf(!was.dead, "I6: an append was acknowledged that began after the delete had returned")
			s.mustf(r.Ack.First >= was.tail, "I4: an append got position %d, below the tail %d that was acknowledged before", r.Ack.First, was.tail)
			s.mustf(asked == nil || was.fencing || *asked == token(was.token), "I6: an append was acknowledged with a stale token")
		}
		s.model.acknowledged(id, r.Ack)
	}
	n.handle(a)
}

// fence sets a new token, or tries a stale one.
func (s *Sim) fence(n *writer, l *life) {
	if l.fencing || s.rng.IntN(2) == 0 {
		stale := token(max(l.token-1, 0))
		s.tenantAppend(n, l.name, func(a *shardlog.Append) { a.FencingToken = &stale })
		return
	}
	s.stats.Fences++
	id, a := s.batch(l.name)
	old, next := token(l.token), token(l.token+1)
	a.FencingToken, a.Commands = &old, []shardlog.Command{{Fence: &next}}
	l.fencing = true
	a.Tag = func(r shardlog.Reply) {
		if r.Err == nil {
			s.model.acknowledged(id, r.Ack)
			if r.Ack.Stream == l.id {
				l.token++
			}
		}
		if !errors.Is(r.Err, shardlog.ErrOutcomeUnknown) {
			l.fencing = false
		}
	}
	n.handle(a)
}

func token(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// configure changes the row first, as the catalog does.
func (s *Sim) configure(n *writer, l *life) {
	row := s.rows[l.name]
	row.ConfigVersion++
	version := row.ConfigVersion
	row.Config.RetentionSeconds = version
	s.rows[l.name] = row
	n.handle(shardlog.Configure{Name: l.name, ID: row.ID, Config: row.Config, ConfigVersion: version, Tag: func(r shardlog.Reply) {
		if r.Err == nil {
			l.version = max(l.version, version)
		}
	}})
}

// trim moves a trim point up, by what retention sends or by a command record.
func (s *Sim) trim(n *writer, l *life) {
	if l.tail == l.trim {
		return
	}
	s.stats.Trims++
	to := l.trim + 1 + stream.SeqNum(s.rng.Uint64N(uint64(l.tail-l.trim)))
	l.askTrim(to)
	if s.rng.IntN(2) == 0 {
		// A stream that gets the name meanwhile may get the command, too.
		s.commanded[l.name] = max(s.commanded[l.name], to)
		id, a := s.batch(l.name)
		a.Commands = []shardlog.Command{{Trim: to}}
		a.Tag = func(r shardlog.Reply) {
			if r.Err == nil {
				if of := s.model.acknowledged(id, r.Ack); of == l {
					l.trim = max(l.trim, to)
				}
			}
		}
		n.handle(a)
		return
	}
	for range 2 { // the second finds the first on its way
		n.handle(shardlog.Trim{Name: l.name, ID: l.id, Trim: to, Tag: func(r shardlog.Reply) {
			if r.Err == nil {
				l.trim = max(l.trim, to)
			}
		}})
	}
}

// delete marks the row, has a writer bury the stream, and frees the name once it
// has; another writer is asked later if it has not.
func (s *Sim) delete(n *writer, l *life) {
	s.rows[l.name] = shardlog.CatalogStream{}
	l.deleting = true
	n.handle(shardlog.Tombstone{Name: l.name, ID: l.id, Tag: func(r shardlog.Reply) {
		s.mustf(!errors.Is(r.Err, shardlog.ErrCatalogBehind), "a writer takes the catalog for older than its log, which it never is")
		if r.Err == nil && !l.dead {
			s.stats.Deleted++
			l.dead, l.ended = true, time.Now()
			s.after(s.lag(), "create "+l.name.Stream, func() { s.create(l.name, stream.ID{2}) })
		}
	}})
	s.after(20*s.lag()+200*time.Millisecond, "delete again "+l.name.Stream, func() {
		if !l.dead {
			s.delete(s.writerFor(l.name), l)
		}
	})
}

func (s *Sim) create(name stream.Name, bucket stream.ID) {
	row := shardlog.CatalogStream{ID: s.randomID(), BucketID: bucket, Config: stream.DefaultConfig(), ConfigVersion: 1}
	row.Config.RetentionSeconds = 1 // tells the version
	s.rows[name] = row
	l := s.model.add(name, row.ID)
	l.trimAsked, l.inherited = s.commanded[name], s.commanded[name]
}
