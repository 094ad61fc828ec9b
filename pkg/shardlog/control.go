package shardlog

import (
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// inspect answers where a stream stands, proved to be current if asked.
func (w *Writer) inspect(q Inspect) {
	s := w.serving(q.Name.Shard(w.cfg.Shards), q)
	if s == nil {
		return
	}
	l := s.resolve(q.Name, q.Purpose, q)
	if l == nil {
		return
	}
	id := l.ID
	if !q.Prove {
		s.show(q, id)
		return
	}
	w.log.proofs.prove(func(err error) {
		if err != nil {
			w.fail(q.Tag, err)
			return
		}
		s.show(q, id)
	})
}

// show replies with the durable view of a stream.
func (s *shard) show(q Inspect, id stream.ID) {
	switch st := s.durable.streams[id]; {
	case s.status != owned:
		s.w.refuse(q, s.w.notOwner(s.id))
	case st != nil:
		s.w.do(Reply{Tag: q.Tag, View: s.view(st)})
	case s.dead(id, stream.ID{}): // deleted while the proof was made
		s.w.fail(q.Tag, ErrDeleting)
	case s.live[q.Name] != nil && s.live[q.Name].ID == id: // nothing of it is durable yet
		l := s.live[q.Name]
		s.w.do(Reply{Tag: q.Tag, View: s.view(&segment.StreamState{
			ID: id, Name: l.Name, Config: l.Config, ConfigVersion: l.ConfigVersion,
		})})
	default: // empty, and forgotten when the shard was taken back meanwhile
		s.w.inspect(q)
	}
}

func (s *shard) view(st *segment.StreamState) View {
	return View{
		ID: st.ID, Name: st.Name, Shard: s.id, Epoch: s.entry.Epoch, Log: s.entry.Owner,
		Config: st.Config, ConfigVersion: st.ConfigVersion,
		Trim: st.Trim, Tail: st.Tail, LastTime: st.LastTimestamp, LastIDMillis: st.LastIDMillis,
	}
}

// done answers a control request when what it asked for is durable.
func (w *Writer) done(tag any) func(error) {
	return func(err error) { w.do(Reply{Tag: tag, Err: err}) }
}

// contradict refuses a control request because of what the log holds, unless this is
// not the place any more to say so.
func (w *Writer) contradict(tag any) func(error) {
	return func(err error) {
		if err == nil {
			err = ErrCatalogBehind
		}
		w.fail(tag, err)
	}
}

// catalogBehind tells whether the log contradicts the catalog, which says that a stream
// has the name: another one that lives has it, or this one differs. The catalog tells
// owners of every change before it forgets what was: so it was put back to an older
// backup. Word of a stream that has ended is only late, and what no entry tells of is
// the catalog's to know: it is asked again.
func (s *shard) catalogBehind(name stream.Name, id stream.ID, differs func(*live) bool) bool {
	l := s.find(name)
	if l == nil || l.ID == id && !differs(l) || s.dead(l.ID, l.BucketID) || s.dead(id, stream.ID{}) {
		return false
	}
	if !l.opened {
		delete(s.live, name)
	}
	return l.opened
}

// configure brings a stream's new configuration into effect.
func (w *Writer) configure(c Configure) {
	s := w.serving(c.Name.Shard(w.cfg.Shards), c)
	if s == nil {
		return
	}
	s.catalogVersion++
	overtaken := func(l *live) bool { return l.ConfigVersion >= c.ConfigVersion && l.Config != c.Config }
	if s.catalogBehind(c.Name, c.ID, overtaken) {
		w.log.proofs.prove(w.contradict(c.Tag))
		return
	}
	switch l := s.find(c.Name); {
	case l == nil || l.ID != c.ID || l.ConfigVersion >= c.ConfigVersion:
		// Nothing to change here; but is this still the place to say so?
		w.log.proofs.prove(w.done(c.Tag))
	case !l.opened:
		l.Config, l.ConfigVersion = c.Config, c.ConfigVersion
		w.log.proofs.prove(w.done(c.Tag))
	default:
		l.Config, l.ConfigVersion = c.Config, c.ConfigVersion
		e := s.entryOf(segment.EntryConfigure)
		e.Stream, e.Config, e.ConfigVersion = c.ID, c.Config, c.ConfigVersion
		s.write(l, e, c.Tag)
	}
}

// write puts an entry about a stream into the log and answers tag when it is
// durable.
func (s *shard) write(l *live, e segment.Entry, tag any) {
	s.hold(l)
	s.w.log.addEntry(e, func(err error) {
		s.release(l)
		s.w.do(Reply{Tag: tag, Err: err})
	})
}

// trim moves a stream's trim point; it never moves back.
func (w *Writer) trim(t Trim) {
	s := w.serving(t.Name.Shard(w.cfg.Shards), t)
	if s == nil {
		return
	}
	l := s.find(t.Name)
	if l != nil && l.ID == t.ID && t.ConfigVersion != 0 && t.ConfigVersion != l.ConfigVersion {
		w.fail(t.Tag, ErrReconfigured)
		return
	}
	if l == nil || l.ID != t.ID || t.Trim <= l.Trim {
		// Records are deleted on the strength of this answer: what it says must be
		// durable, and this writer still be the one to say it.
		w.log.proofs.prove(w.done(t.Tag))
		return
	}
	l.Trim = min(t.Trim, l.Tail)
	e := s.entryOf(segment.EntryTrim)
	e.Stream, e.Trim = t.ID, l.Trim
	s.write(l, e, t.Tag)
}

// tombstone ends a stream for good, whether or not the shard knows it: no answer
// of the catalog brings it back. But the stream of that name that the shard does know
// must not live on: whoever deletes means that one.
func (w *Writer) tombstone(t Tombstone) {
	s := w.serving(t.Name.Shard(w.cfg.Shards), t)
	if s == nil {
		return
	}
	if s.dead(t.ID, stream.ID{}) {
		w.log.proofs.prove(w.done(t.Tag))
		return
	}
	if t.IfEmpty && !s.expendable(t) {
		return
	}
	if s.catalogBehind(t.Name, t.ID, func(*live) bool { return false }) {
		w.log.proofs.prove(w.contradict(t.Tag))
		return
	}
	s.catalogVersion++
	s.buried[t.ID] = struct{}{}
	if l := s.live[t.Name]; l != nil && l.ID == t.ID && l.pending == 0 {
		delete(s.live, t.Name)
	}
	e := s.entryOf(segment.EntryTombstone)
	e.Stream = t.ID
	w.log.addEntry(e, func(err error) {
		delete(s.buried, t.ID)
		w.do(Reply{Tag: t.Tag, Err: err})
	})
}

// expendable tells whether a stream may end for being empty. Otherwise the request is
// dealt with, or waits for the catalog: a stream that the log does not know has the
// configuration that its row has now. What was accepted counts, so no append that is
// acknowledged is lost; and of those that come later none is accepted.
func (s *shard) expendable(t Tombstone) bool {
	l := s.resolve(t.Name, ForInspection, t)
	if l == nil {
		return false
	}
	minAge := min(l.Config.DeleteOnEmptySeconds, 1<<53) * 1000
	switch due := l.LastIDMillis + minAge; {
	case l.ID != t.ID || minAge == 0:
		s.w.fail(t.Tag, &KeptError{})
	case l.LastIDMillis > 0 && due > t.Now:
		s.w.fail(t.Tag, &KeptError{Millis: due - t.Now})
	case l.pending > 0 || l.Tail > l.Trim:
		s.w.fail(t.Tag, &KeptError{})
	default:
		return true
	}
	return false
}

// tombstoneBucket ends every stream that the bucket has, or may yet have, in one
// shard.
func (w *Writer) tombstoneBucket(t TombstoneBucket) {
	s := w.serving(t.Shard, t)
	if s == nil {
		return
	}
	s.catalogVersion++
	if s.dead(stream.ID{}, t.BucketID) {
		w.log.proofs.prove(w.done(t.Tag))
		return
	}
	s.buriedBuckets[t.BucketID] = struct{}{}
	for name, l := range s.live {
		if l.BucketID == t.BucketID && l.pending == 0 {
			delete(s.live, name)
		}
	}
	e := s.entryOf(segment.EntryTombstoneBucket)
	e.BucketID = t.BucketID
	w.log.addEntry(e, func(err error) {
		delete(s.buriedBuckets, t.BucketID)
		w.do(Reply{Tag: t.Tag, Err: err})
	})
}
