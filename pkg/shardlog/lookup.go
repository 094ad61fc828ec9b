package shardlog

import "github.com/samsa-io/samsa/pkg/stream"

// A lookup is a question to the catalog under way, and the requests that wait
// for its answer, in order.
type lookup struct {
	name    stream.Name
	purpose Purpose
	waiting []Event
	// version is the shard's catalogVersion when the question was asked: an answer
	// may be older than a tombstone that the shard took since.
	version int
}

func (l *lookup) add(purpose Purpose, e Event) {
	l.purpose = max(l.purpose, purpose)
	l.waiting = append(l.waiting, e)
}

func (s *shard) lookUp(name stream.Name, purpose Purpose, e Event) {
	l := &lookup{name: name}
	l.add(purpose, e)
	s.lookups[name] = l
	s.ask(l)
}

func (s *shard) ask(l *lookup) {
	l.version = s.catalogVersion
	asked := l.purpose
	op := s.w.op(func(e Event) { s.lookedUp(l, asked, e.(LookupDone)) })
	s.w.do(Lookup{Op: op, Name: l.name, Purpose: asked})
}

func (s *shard) lookedUp(l *lookup, asked Purpose, r LookupDone) {
	if s.lookups[l.name] != l { // the shard was given up meanwhile
		return
	}
	if l.version != s.catalogVersion || r.Err != nil && asked < l.purpose {
		s.ask(l) // stale, or someone since would have the stream created
		return
	}
	delete(s.lookups, l.name)
	if r.Err == nil && s.dead(r.Stream.ID, r.Stream.BucketID) {
		r.Err = ErrDeleting
	}
	if r.Err != nil {
		for _, e := range l.waiting {
			s.w.refuse(e, r.Err)
		}
		return
	}
	s.learn(l.name, r.Stream)
	for _, e := range l.waiting {
		s.w.request(e)
	}
}

// learn takes in a stream of the catalog that the log knows nothing of. It starts
// at 0, and gets its entry beside its first batch.
func (s *shard) learn(name stream.Name, c CatalogStream) {
	l := &live{}
	l.ID, l.BucketID, l.Name = c.ID, c.BucketID, name
	l.Config, l.ConfigVersion = c.Config, c.ConfigVersion
	s.live[name] = l
}

// enter notes an append of the session on its way into w's log.
func (s *Session) enter(w *Writer) {
	if s != nil {
		s.at = w
		s.pending++
	}
}

func (s *Session) leave() {
	if s != nil {
		s.pending--
	}
}

// elsewhere tells whether appends of the session are on their way into the log of
// another incarnation than w. It has lost the shard, and may not know yet.
func (s *Session) elsewhere(w *Writer) bool {
	return s != nil && s.pending > 0 && s.at != w
}

func (s *Session) fail() {
	if s != nil {
		s.failed = true
	}
}
