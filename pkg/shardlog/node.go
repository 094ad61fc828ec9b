package shardlog

import (
	"errors"
	"time"

	"github.com/samsa-io/samsa/pkg/stream"
)

// A Node is a stream-writer: the incarnation that takes shards, and while it rolls
// the one before it as well. It takes the same events as a Writer, brings each to
// the incarnation that it is for, and has the actions of both.
//
// Rolling goes shard by shard. The new incarnation takes a shard as it would from
// any other writer, only that the question to the owner stays inside the node. From
// then on requests for the shard wait in the new incarnation, so none fails and
// their order is kept. When all are taken, the old one retires.
//
// If the new incarnation ends on the way, the old one goes on as before. If the old
// one ends, its shards have to be asked for like those of anybody who has died.
// At no time are there more than two.
type Node struct {
	cfg     Config
	current *Writer // takes shards; nil: it has ended
	old     *Writer // rolls; nil: none does
	begun   OpID    // incarnations so far

	moves   bool                   // current is taking a shard from old:
	moving  stream.Shard           // this one
	retries map[stream.Shard]retry // of shards that could not be moved
	held    bool                   // that old has lost it is yet to be told
	taken   map[stream.Shard]bool  // from old, by current or by somebody else
	told    map[stream.Shard]bool  // to have left old

	now   time.Time
	inbox []delivery // what this step has yet to bring to the incarnations
	out   []Action
}

// retry is when a shard that could not be moved is to be moved again.
type retry struct {
	at       time.Time
	failures int // the pause doubles with each
}

// delivery is an event on its way to one of the incarnations.
type delivery struct {
	to *Writer
	e  Event
}

// opBits is what remains of an OpID for the operations of one incarnation; above
// that stands which one it is.
const opBits = 44

// NewNode makes a node whose first incarnation is the one in cfg.
func NewNode(cfg Config) *Node {
	n := &Node{cfg: cfg}
	n.current = n.begin(cfg.Incarnation)
	n.cfg.Heads = n.current.heads
	return n
}

func (n *Node) begin(id stream.Incarnation) *Writer {
	cfg := n.cfg
	cfg.Incarnation = id
	w := New(cfg)
	w.lastOp = n.begun << opBits
	n.begun++
	return w
}

// Roll asks for a new incarnation. It is ignored while one ends, and if the log is
// empty.
type Roll struct {
	Incarnation stream.Incarnation
}

// Began says that the node has begun another incarnation, which owns nothing yet.
type Began struct {
	Log stream.Incarnation
}

func (Roll) event()   {}
func (Began) action() {}

// Alive tells whether any incarnation is left.
func (n *Node) Alive() bool { return n.current != nil || n.old != nil }

// Rolling tells whether two incarnations are at work.
func (n *Node) Rolling() bool { return n.current != nil && n.old != nil }

// Step takes an event and returns what is to be done about it. The slice is reused
// by the next step.
func (n *Node) Step(now time.Time, e Event) []Action {
	n.now = now
	clear(n.out)
	n.out = n.out[:0]
	switch e := e.(type) {
	case Tick, Retire, Stop:
		n.deliver(n.old, e)
		n.deliver(n.current, e)
	case Roll:
		n.roll(e.Incarnation)
	default:
		n.deliver(n.addressee(e), e)
	}
	n.settle()
	for n.moveNext() {
		n.settle()
	}
	return n.out
}

func (n *Node) deliver(to *Writer, e Event) { n.inbox = append(n.inbox, delivery{to, e}) }

// settle delivers until there is nothing left to deliver.
func (n *Node) settle() {
	for i := 0; i < len(n.inbox); i++ {
		n.step(n.inbox[i].to, n.inbox[i].e)
	}
	clear(n.inbox)
	n.inbox = n.inbox[:0]
}

// Deadline is when the node wants a Tick at the latest; false: at no time.
func (n *Node) Deadline() (at time.Time, ok bool) {
	for _, w := range []*Writer{n.current, n.old} {
		if w == nil {
			continue
		}
		if t, wants := w.Deadline(); wants && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	if !n.Rolling() {
		return at, ok
	}
	for _, r := range n.retries {
		if r.at.After(n.now) && (!ok || r.at.Before(at)) {
			at, ok = r.at, true
		}
	}
	return at, ok
}

// step has one incarnation take an event and gathers what it wants done.
func (n *Node) step(w *Writer, e Event) {
	if w == nil {
		n.unanswerable(e)
		return
	}
	for _, a := range w.Step(n.now, e) {
		n.act(w, a)
	}
	for _, e := range w.forwarded {
		n.deliver(n.current, e)
	}
	w.forwarded = nil
}

// unanswerable refuses a request that came when no incarnation was left to take it.
func (n *Node) unanswerable(e Event) {
	if tag := TagOf(e); tag != nil {
		if a, ok := e.(*Append); ok {
			a.Session.fail()
		}
		n.out = append(n.out, Reply{Tag: tag, Err: ErrDied})
	}
}

// addressee is the incarnation that an event is for.
func (n *Node) addressee(e Event) *Writer {
	if op, ok := opOf(e); ok {
		return n.number(op >> opBits)
	}
	if h, ok := e.(HandOver); ok {
		if n.old != nil && n.old.cfg.Incarnation == h.Incarnation {
			return n.old
		}
		return n.current
	}
	switch {
	case n.current == nil:
		return n.old
	case n.old == nil: // as nearly always
		return n.current
	}
	if id, ok := n.shardOf(e); ok && n.old.serves(id) {
		return n.old
	}
	return n.current
}

// serves tells whether requests for a shard are this incarnation's to answer.
func (w *Writer) serves(id stream.Shard) bool {
	s := w.shards[id]
	return s != nil && (s.status == owned || s.status == taking)
}

func (n *Node) number(i OpID) *Writer {
	for _, w := range []*Writer{n.current, n.old} {
		if w != nil && w.lastOp>>opBits == i {
			return w
		}
	}
	return nil
}

func opOf(e Event) (OpID, bool) {
	switch e := e.(type) {
	case PutDone:
		return e.Op, true
	case GetDone:
		return e.Op, true
	case HeadDone:
		return e.Op, true
	case LookupDone:
		return e.Op, true
	case AskDone:
		return e.Op, true
	}
	return 0, false
}

// shardOf is the shard that a request is about.
func (n *Node) shardOf(e Event) (stream.Shard, bool) {
	switch e := e.(type) {
	case *Append:
		return e.Name.Shard(n.cfg.Shards), true
	case Inspect:
		return e.Name.Shard(n.cfg.Shards), true
	case Configure:
		return e.Name.Shard(n.cfg.Shards), true
	case Tombstone:
		return e.Name.Shard(n.cfg.Shards), true
	case Trim:
		return e.Name.Shard(n.cfg.Shards), true
	case TombstoneBucket:
		return e.Shard, true
	case Survey:
		return e.Shard, true
	case Take:
		return e.Shard, true
	}
	return 0, false
}

// localAsk is the tag of a question that one incarnation has to the other.
type localAsk struct {
	asker *Writer
	op    OpID
}

// move is the tag of a take for rolling.
type move struct{ shard stream.Shard }

// act passes an action of w on, or deals with it inside the node.
func (n *Node) act(w *Writer, a Action) {
	switch a := a.(type) {
	case AskOwner:
		if n.old != nil && w != n.old && a.Entry.Owner == n.old.cfg.Incarnation {
			n.deliver(n.old, HandOver{
				Tag: localAsk{w, a.Op}, Shard: a.Entry.Shard, Epoch: a.Entry.Epoch, Incarnation: a.Entry.Owner,
			})
			return
		}
	case Reply:
		switch tag := a.Tag.(type) {
		case localAsk:
			n.answerAsk(tag, a)
			return
		case move:
			n.moved(tag.shard, a)
			return
		}
	case Lost:
		if n.holdBack(w, a.Shard) {
			return
		}
	case Owned:
		if id := a.Entry.Shard; w == n.current && n.old != nil && n.old.shards[id] != nil && !n.told[id] {
			n.lost(id) // so that it is told before, also if the old one is yet to learn it
		}
	case Died:
		n.ended(w)
	}
	n.out = append(n.out, a)
}

func (n *Node) answerAsk(ask localAsk, r Reply) {
	answer := AskDone{Op: ask.op, Answer: OwnerHandedOver, End: r.End}
	if r.Err != nil {
		answer = AskDone{Op: ask.op, Answer: OwnerGone}
	}
	if ask.asker == n.current {
		n.deliver(n.current, answer)
	}
}

// holdBack tells whether it is not to be told yet, or not again, that w has lost a
// shard. One that moves is not lost before it is known whose it is.
func (n *Node) holdBack(w *Writer, id stream.Shard) bool {
	if w != n.old {
		return false
	}
	if n.moves && n.moving == id {
		n.held = true
		return true
	}
	return n.told[id]
}

// lost tells that a shard has left the old incarnation.
func (n *Node) lost(id stream.Shard) {
	n.told[id], n.held = true, false
	n.out = append(n.out, Lost{Shard: id})
}

func (n *Node) ended(w *Writer) {
	if n.held {
		n.lost(n.moving)
	}
	switch {
	case w != n.current:
		n.old = nil
	case n.old == nil || n.old.retiring:
		n.current = nil // the old one is on its way out, and takes nothing
	default:
		n.current, n.old = n.old, nil
		n.current.forwards = false
	}
	n.moves, n.taken = false, nil
}

// roll begins another incarnation and leaves the present one to end.
func (n *Node) roll(id stream.Incarnation) {
	if n.current == nil || n.old != nil || n.current.takesNothing() || n.current.log.next() == 0 {
		return
	}
	n.old, n.current = n.current, n.begin(id)
	n.old.forwards = true
	n.moves, n.taken, n.retries = false, map[stream.Shard]bool{}, map[stream.Shard]retry{}
	n.held, n.told = false, map[stream.Shard]bool{}
	n.out = append(n.out, Began{Log: id})
}

// moveNext moves the next shard, or has the old incarnation retire when none is
// left. It is false if there is nothing to do now.
func (n *Node) moveNext() bool {
	if !n.Rolling() || n.old.retiring || n.moves {
		return false
	}
	id, found, waiting := n.next()
	switch {
	case found:
		n.moving, n.moves = id, true
		n.old.shards[id].orphan = false
		n.deliver(n.current, Take{Tag: move{id}, Shard: id, Planned: true})
	case waiting:
		return false
	default:
		n.old.retire()
		n.deliver(n.old, Tick{})
	}
	return true
}

// next is a shard that the old incarnation has yet to hand over, or that nobody has
// taken from it. It waits for takeovers that are under way, either way, and for shards
// that are to be tried again.
func (n *Node) next() (id stream.Shard, found, waiting bool) {
	for _, id := range n.old.order {
		switch s := n.old.shards[id]; {
		case n.now.Before(n.retries[id].at):
			waiting = true
		case s.status == owned, s.status == handed && s.orphan && !n.taken[id]:
			return id, true, false
		case s.status != handed || !n.taken[id]:
			waiting = true
		}
	}
	return 0, false, waiting
}

// moved notes the end of a move. One that failed is tried again after a pause: until
// then the old incarnation may have taken the shard back.
func (n *Node) moved(id stream.Shard, r Reply) {
	if !n.moves || n.moving != id {
		return
	}
	n.moves = false
	n.taken[id] = r.Err == nil
	s := n.old.shards[id]
	left := s == nil || s.status != owned
	kept := r.Err == nil && r.Head.Owner == n.current.cfg.Incarnation
	if left && kept {
		delete(n.retries, id)
		return
	}
	failures := n.retries[id].failures
	pause := moveRetryDelays * n.cfg.RetryDelay << min(failures, moveDoublings)
	n.retries[id] = retry{n.now.Add(pause), failures + 1}
	switch {
	case n.held:
		n.lost(id)
	case r.Err == nil && !left: // somebody had sealed the old log, which is to find that out
		n.deliver(n.old, HandOver{Shard: id, Epoch: s.entry.Epoch, Incarnation: n.old.cfg.Incarnation})
	}
}

// moveRetryDelays is the pause after a failed move, in units of Config.RetryDelay. It
// doubles at most moveDoublings times.
const (
	moveRetryDelays = 5
	moveDoublings   = 6
)

// forward takes a request along to the next incarnation that this one would refuse.
func (w *Writer) forward(e Event, why error) bool {
	var notOwner *NotOwnerError
	if !w.forwards || w.end == dead || !errors.As(why, &notOwner) {
		return false
	}
	switch e.(type) {
	case Take, HandOver:
		return false
	}
	w.forwarded = append(w.forwarded, e)
	return true
}
