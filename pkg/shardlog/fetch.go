package shardlog

import (
	"errors"
	"fmt"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// decodeTries is how often an object is read again that does not decode, before
// it counts as damaged rather than as garbled on its way.
const decodeTries = 5

// fetch reads an object, or its last suffix bytes, until decode accepts it. An
// absent object and one that never decodes are ErrDamaged, unless absent says
// what to do about the former.
func (w *Writer) fetch(key string, suffix int64, decode func([]byte) error, then func(error)) {
	w.fetchAgain(key, suffix, decodeTries, &tries{}, decode, then)
}

func (w *Writer) fetchAgain(key string, suffix int64, left int, t *tries, decode func([]byte) error, then func(error)) {
	w.get(key, suffix, func(r GetDone) {
		switch r.Outcome {
		case Absent:
			then(fmt.Errorf("%w: %s is missing", errAbsent, key))
			return
		case Found:
			err := decode(r.Body)
			var more *segment.NeedMore
			switch {
			case err == nil:
				then(nil)
				return
			case errors.As(err, &more) && more.Bytes > suffix:
				w.fetchAgain(key, more.Bytes, left, t, decode, then)
				return
			case left == 1:
				then(fmt.Errorf("%w: %s: %w", ErrDamaged, key, err))
				return
			}
			left--
		}
		w.later(t, func() { w.fetchAgain(key, suffix, left, t, decode, then) })
	})
}

// errAbsent is ErrDamaged wherever the object must stand.
var errAbsent = fmt.Errorf("%w: absent", ErrDamaged)

// create puts an object until it stands; then tells whether this put made it.
func (w *Writer) create(key string, body []byte, then func(created bool)) {
	w.createAgain(key, body, &tries{}, then)
}

func (w *Writer) createAgain(key string, body []byte, t *tries, then func(created bool)) {
	w.put(key, func() []byte { return body }, t, func(r PutDone) {
		switch r.Outcome {
		case Created:
			then(true)
		case Exists:
			then(false)
		default:
			w.later(t, func() { w.createAgain(key, body, t, then) })
		}
	})
}

// state reads a state object.
func (w *Writer) state(ref segment.StateRef, then func(*segment.State, error)) {
	var st *segment.State
	decode := func(b []byte) (err error) {
		st, err = segment.DecodeState(b)
		return err
	}
	w.fetch(segment.StateKey(ref.Shard, ref.Epoch, ref.Slot), 0, decode, func(err error) { then(st, err) })
}

// chainEntry reads a chain entry; errAbsent if there is none.
func (w *Writer) chainEntry(shard stream.Shard, epoch stream.Epoch, then func(*segment.ChainEntry, error)) {
	var e segment.ChainEntry
	decode := func(b []byte) (err error) {
		e, err = segment.DecodeChainEntry(b)
		return err
	}
	w.fetch(segment.ChainKey(shard, epoch), 0, decode, func(err error) { then(&e, err) })
}

// findHead finds the newest entry of a shard's chain, nil if it has none. Epochs
// are contiguous, so it gallops up from the newest entry known and then halves. It
// looks first at the epoch that is hinted at, if that is a newer one.
func (w *Writer) findHead(shard stream.Shard, hint stream.Epoch, then func(*segment.ChainEntry, error)) {
	f := &headFinder{w: w, shard: shard, then: then}
	if known, ok := w.heads[shard]; ok {
		f.head, f.low = &known, known.Epoch+1
	}
	gallop := func() { f.gallop(1) }
	if hint > f.low {
		f.look(hint, gallop, gallop)
		return
	}
	gallop()
}

// noteHead remembers the newest entry seen of a shard's chain.
func (w *Writer) noteHead(e segment.ChainEntry) {
	if known, ok := w.heads[e.Shard]; !ok || known.Epoch <= e.Epoch {
		w.heads[e.Shard] = e
	}
}

// A headFinder knows that the epochs below low exist and, once bounded, that high
// does not.
type headFinder struct {
	w     *Writer
	shard stream.Shard
	head  *segment.ChainEntry // of epoch low − 1
	low   stream.Epoch
	high  stream.Epoch
	then  func(*segment.ChainEntry, error)
}

func (f *headFinder) gallop(step stream.Epoch) {
	at := f.low + step - 1
	f.look(at, func() { f.gallop(2 * step) }, func() { f.high = at; f.halve() })
}

func (f *headFinder) halve() {
	if f.low == f.high {
		if f.head != nil {
			f.w.noteHead(*f.head)
		}
		f.then(f.head, nil)
		return
	}
	at := f.low + (f.high-f.low)/2
	f.look(at, f.halve, func() { f.high = at; f.halve() })
}

func (f *headFinder) look(at stream.Epoch, found, absent func()) {
	f.w.chainEntry(f.shard, at, func(e *segment.ChainEntry, err error) {
		switch {
		case err == nil:
			f.head, f.low = e, at+1
			found()
		case errors.Is(err, errAbsent):
			absent()
		default:
			f.then(nil, err)
		}
	})
}

// A footerLoad is a footer, or the wait for it, that takers of several shards
// share.
type footerLoad struct {
	footer *segment.Footer
	err    error
	done   bool
	then   []func(*segment.Footer, error)
}

type footerKey struct {
	log  stream.Incarnation
	slot stream.Slot
}

// footer reads the footer of a slot that must stand. Footers are kept while any
// takeover is under way.
func (w *Writer) footer(log stream.Incarnation, slot stream.Slot, then func(*segment.Footer, error)) {
	key := footerKey{log, slot}
	l := w.footers[key]
	if l != nil && l.done {
		then(l.footer, l.err)
		return
	}
	if l != nil {
		l.then = append(l.then, then)
		return
	}
	l = &footerLoad{then: []func(*segment.Footer, error){then}}
	w.footers[key] = l
	decode := func(b []byte) (err error) {
		l.footer, err = segment.DecodeFooter(b)
		return err
	}
	w.fetch(segment.SlotKey(log, slot), segment.FooterProbe, decode, func(err error) {
		l.done, l.err = true, err
		waiting := l.then
		l.then = nil
		for _, f := range waiting {
			f(l.footer, l.err)
		}
	})
}

// takerDone lets the footers go when the last takeover has ended.
func (w *Writer) takerDone() {
	for _, s := range w.shards {
		if s.taker != nil {
			return
		}
	}
	clear(w.footers)
}
