package shardlog

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A script drives one writer by hand over a store that answers at once and never
// fails, unless the test holds an action back. Scripts can share a store.
type script struct {
	t       *testing.T
	w       *Writer
	node    *Node // if it can roll; w is its first incarnation then
	now     time.Time
	store   map[string][]byte
	hold    func(Action) bool // true: the action is kept in held; nil: none is
	held    []Action
	seen    []Action
	replies map[any]Reply
	events  []Event
	// owner answers AskOwner; nil: the owner is gone.
	owner func(AskOwner) AskDone
	rows  map[string]CatalogStream // by the stream's name; others are made up
}

func newScript(t *testing.T, id byte, store map[string][]byte) *script {
	s := &script{
		t: t, now: time.UnixMilli(1_700_000_000_000), store: store,
		replies: map[any]Reply{}, rows: map[string]CatalogStream{},
	}
	s.w = New(Config{
		Incarnation: stream.Incarnation{id}, Instance: string('a' + rune(id)), Address: "x", Shards: 1,
		Window: 2, BatchBytes: 1 << 20, StandardLinger: time.Millisecond, RetryDelay: time.Millisecond, StateSlots: 4,
	})
	return s
}

// newNodeScript makes a script whose writer can roll.
func newNodeScript(t *testing.T, id byte, store map[string][]byte) *script {
	s := newScript(t, id, store)
	s.node = NewNode(s.w.cfg)
	s.w = s.node.current
	return s
}

// machine is what takes the events.
func (s *script) machine() interface {
	Step(time.Time, Event) []Action
	Deadline() (time.Time, bool)
} {
	if s.node != nil {
		return s.node
	}
	return s.w
}

// step takes an event and whatever it brings about.
func (s *script) step(events ...Event) {
	s.events = append(s.events, events...)
	for len(s.events) > 0 {
		e := s.events[0]
		s.events = s.events[1:]
		for _, a := range append([]Action(nil), s.machine().Step(s.now, e)...) {
			s.seen = append(s.seen, a)
			if s.hold != nil && s.hold(a) {
				s.held = append(s.held, a)
				continue
			}
			s.act(a)
		}
	}
}

func (s *script) act(a Action) {
	switch a := a.(type) {
	case Put:
		outcome := Exists
		if _, ok := s.store[a.Key]; !ok {
			s.store[a.Key], outcome = a.Body(), Created
		}
		s.events = append(s.events, PutDone{Op: a.Op, Outcome: outcome})
	case Get:
		s.events = append(s.events, s.get(a))
	case Head:
		outcome := Absent
		if _, ok := s.store[a.Key]; ok {
			outcome = Found
		}
		s.events = append(s.events, HeadDone{Op: a.Op, Outcome: outcome})
	case Lookup:
		s.events = append(s.events, LookupDone{Op: a.Op, Stream: s.row(a.Name.Stream)})
	case AskOwner:
		answer := AskDone{Answer: OwnerGone}
		if s.owner != nil {
			answer = s.owner(a)
		}
		answer.Op = a.Op
		s.events = append(s.events, answer)
	case Reply:
		_, twice := s.replies[a.Tag]
		require.False(s.t, twice && a.Tag != nil, "%v is answered twice", a.Tag)
		s.replies[a.Tag] = a
	}
}

func (s *script) get(a Get) GetDone {
	body, ok := s.store[a.Key]
	if !ok {
		return GetDone{Op: a.Op, Outcome: Absent}
	}
	if a.Suffix > 0 && int(a.Suffix) < len(body) {
		body = body[len(body)-int(a.Suffix):]
	}
	return GetDone{Op: a.Op, Outcome: Found, Body: body}
}

func (s *script) row(name string) CatalogStream {
	if row, ok := s.rows[name]; ok {
		return row
	}
	var id stream.ID
	copy(id[:], name)
	return CatalogStream{ID: id, BucketID: stream.ID{1}, Config: stream.DefaultConfig(), ConfigVersion: 1}
}

// pass lets time go by.
func (s *script) pass(d time.Duration) {
	end := s.now.Add(d)
	for {
		at, ok := s.machine().Deadline()
		if !ok || at.After(end) {
			break
		}
		s.now = at
		s.step(Tick{})
	}
	s.now = end
}

// release carries out what was held back, and holds nothing any more.
func (s *script) release() {
	held := s.held
	s.held, s.hold = nil, nil
	for _, a := range held {
		s.act(a)
	}
	s.step()
}

// own makes the writer the owner of shard 0.
func (s *script) own() {
	s.step(Take{Tag: s.now})
	s.pass(time.Second)
	require.Contains(s.t, s.w.shards, stream.Shard(0))
	require.Equal(s.t, owned, s.w.shards[0].status)
}

func (s *script) append(tag any, name string, session *Session) {
	s.step(record(tag, name, session))
}

func record(tag any, name string, session *Session) *Append {
	return &Append{
		Tag: tag, Name: stream.Name{Bucket: "bucket", Stream: name}, Session: session, Count: 1,
		Timestamps: []uint64{NoTimestamp}, Payload: segment.AppendRecord(nil, nil, binary.BigEndian.AppendUint64(nil, 1)),
	}
}

func (s *script) acked(tag any) Ack {
	r, ok := s.replies[tag]
	require.True(s.t, ok, "%v is not answered", tag)
	require.NoError(s.t, r.Err)
	return r.Ack
}

func (s *script) refused(tag any) error {
	r, ok := s.replies[tag]
	require.True(s.t, ok, "%v is not answered", tag)
	require.Error(s.t, r.Err)
	return r.Err
}

func isPut(prefix string) func(Action) bool {
	return func(a Action) bool {
		p, ok := a.(Put)
		return ok && len(p.Key) >= len(prefix) && p.Key[:len(prefix)] == prefix
	}
}
