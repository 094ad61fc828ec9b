package shardlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// simUnary is a client without a session that sends a producer's batches one by
// one, and each of them to several writers until one acknowledges it.
type simUnary struct {
	s     *sim
	name  stream.Name
	id    string
	seq   uint64
	batch *simBatch // nil: the next one is yet to be made
}

func (u *simUnary) send() {
	if u.batch == nil || u.batch.acked {
		if u.batch != nil {
			u.seq++
		}
		u.s.nextID++
		u.batch = &simBatch{id: u.s.nextID, name: u.name}
		u.s.batches[u.batch.id] = u.batch
	}
	for range 1 + u.s.rng.IntN(2) {
		b, seq := u.batch, u.seq
		a := u.s.record(u.name, b.id)
		a.ProducerID, a.ProducerSeq = u.id, seq
		a.Tag = func(r Reply) { u.answered(b, r) }
		u.s.nodes[len(u.s.nodes)-1-u.s.rng.IntN(min(3, len(u.s.nodes)))].deliver(a)
	}
}

func (u *simUnary) answered(b *simBatch, r Reply) {
	gap := (*ProducerGapError)(nil)
	require.False(u.s.t, errors.As(r.Err, &gap), "a producer that leaves nothing out has a gap: %v", r.Err)
	if r.Err != nil {
		return
	}
	if b.acked {
		require.Equal(u.s.t, b.ack, r.Ack, "a repeated batch got another answer")
	}
	b.acked, b.ack = true, r.Ack
}

// simCrowd is producers of one batch each, more of them than a stream remembers.
// Now and then an old batch is sent again.
type simCrowd struct {
	s    *sim
	name stream.Name
	sent []*simBatch
}

func (c *simCrowd) send() {
	s := c.s
	for range 1 + s.rng.IntN(2) {
		s.nextID++
		b := &simBatch{id: s.nextID, name: c.name}
		s.batches[b.id] = b
		c.sent = append(c.sent, b)
		c.deliver(b)
	}
	c.deliver(c.sent[s.rng.IntN(len(c.sent))])
}

// deliver sends a batch, the odd ones' producers have UUIDv7s.
func (c *simCrowd) deliver(b *simBatch) {
	a := c.s.record(b.name, b.id)
	a.ProducerID = fmt.Sprint("crowd ", b.id)
	if b.id%2 == 1 {
		a.ProducerID = timed(1_700_000_000_000+b.id, int(b.id))
	}
	a.Tag = func(r Reply) {
		if r.Err != nil {
			return
		}
		if b.acked {
			require.Equal(c.s.t, b.ack, r.Ack, "a repeated batch got another answer")
		}
		b.acked, b.ack = true, r.Ack
	}
	c.s.nodes[len(c.s.nodes)-1-c.s.rng.IntN(min(3, len(c.s.nodes)))].deliver(a)
}

func (s *sim) record(name stream.Name, id uint64) *Append {
	return &Append{
		Name: name, Count: 1, Timestamps: []uint64{NoTimestamp},
		Payload: segment.AppendRecord(nil, nil, binary.BigEndian.AppendUint64(nil, id)),
	}
}

// simTenants have streams that are configured, trimmed, fenced, deleted and made
// anew under the same name. What was promised before a request was sent is
// compared with what it is told.
type simTenants struct {
	s     *sim
	names []stream.Name
	life  map[stream.ID]*simLife
	acks  []simAck
}

// simLife is what clients were told of one stream.
type simLife struct {
	name    stream.Name
	tail    stream.SeqNum // above everything acknowledged
	trim    stream.SeqNum
	asked   stream.SeqNum // no trim was asked for above it
	version uint64        // of the configuration in effect
	token   int           // the fencing token acknowledged, a number
	fencing bool          // a new token may be on its way, or have come to be without an answer
	dead    bool          // the tombstone was acknowledged
}

type simAck struct {
	batch uint64
	ack   Ack
}

func newSimTenants(s *sim) *simTenants {
	t := &simTenants{s: s, life: map[stream.ID]*simLife{}}
	for i := range 3 {
		name := stream.Name{Bucket: "tenants", Stream: fmt.Sprint(i)}
		t.names = append(t.names, name)
		t.create(name)
	}
	return t
}

func (t *simTenants) create(name stream.Name) {
	row := CatalogStream{ID: t.s.randomID(), BucketID: stream.ID{2}, Config: stream.DefaultConfig(), ConfigVersion: 1}
	row.Config.RetentionSeconds = 1 // tells the version
	row.Config.DeleteOnEmptySeconds = 1
	t.s.rows[name] = row
	t.life[row.ID] = &simLife{name: name, version: 1}
}

func (t *simTenants) round() {
	name := t.names[t.s.rng.IntN(len(t.names))]
	n := t.s.nodes[len(t.s.nodes)-1-t.s.rng.IntN(min(4, len(t.s.nodes)))]
	row := t.s.rows[name]
	life := t.life[row.ID]
	switch roll := t.s.rng.IntN(20); {
	case roll < 8:
		t.append(n, name, nil)
	case roll < 14:
		t.inspect(n, name)
	case life == nil: // being deleted
	case roll == 14 && t.s.rng.IntN(2) == 0:
		t.deleteEmpty(n, name, row.ID, life)
	case roll == 14:
		t.delete(n, name, row.ID, life)
	case roll == 15:
		t.configure(n, name, life)
	case roll == 16:
		t.trim(n, name, row.ID, life)
	default:
		t.fence(n, name, life)
	}
}

// before is a copy of what was promised when a request is sent.
func (t *simTenants) before() map[stream.ID]simLife {
	then := map[stream.ID]simLife{}
	for id, life := range t.life {
		then[id] = *life
	}
	return then
}

func (t *simTenants) append(n *simNode, name stream.Name, change func(*Append)) {
	t.s.nextID++
	id, before := t.s.nextID, t.before()
	a := t.s.record(name, id)
	if change != nil {
		change(a)
	}
	asked := a.FencingToken
	a.Tag = func(r Reply) {
		if r.Err != nil {
			return
		}
		then := before[r.Ack.Stream]
		require.False(t.s.t, then.dead, "an append was acknowledged that began after the delete had returned")
		require.GreaterOrEqual(t.s.t, r.Ack.First, then.tail)
		if asked != nil && !then.fencing {
			require.Equal(t.s.t, token(then.token), *asked, "an append was acknowledged with a stale token")
		}
		life := t.life[r.Ack.Stream]
		life.tail = max(life.tail, r.Ack.First+1)
		t.acks = append(t.acks, simAck{id, r.Ack})
	}
	n.deliver(a)
}

// fence sets a new token, or tries a stale one.
func (t *simTenants) fence(n *simNode, name stream.Name, life *simLife) {
	if life.fencing || t.s.rng.IntN(2) == 0 {
		stale := token(max(life.token-1, 0))
		t.append(n, name, func(a *Append) { a.FencingToken = &stale })
		return
	}
	t.s.nextID++
	old, next := token(life.token), token(life.token+1)
	a := t.s.record(name, t.s.nextID)
	a.FencingToken, a.Commands = &old, []Command{{Fence: &next}}
	life.fencing = true
	a.Tag = func(r Reply) {
		if r.Err == nil && t.life[r.Ack.Stream] == life {
			life.token++
		}
		if !errors.Is(r.Err, ErrOutcomeUnknown) {
			life.fencing = false
		}
	}
	n.deliver(a)
}

func token(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func (t *simTenants) inspect(n *simNode, name stream.Name) {
	before := t.before()
	n.deliver(Inspect{Name: name, Prove: true, Tag: func(r Reply) {
		if r.Err != nil {
			return
		}
		then := before[r.View.ID]
		require.False(t.s.t, then.dead, "a stream is seen after its delete has returned")
		require.GreaterOrEqual(t.s.t, r.View.Tail, then.tail, "a proved tail hides an acknowledged record")
		require.GreaterOrEqual(t.s.t, r.View.Trim, then.trim, "a trim point was forgotten")
		require.GreaterOrEqual(t.s.t, r.View.Config.RetentionSeconds, then.version, "a configuration was forgotten")
	}})
}

// configure changes the row first, as the catalog does.
func (t *simTenants) configure(n *simNode, name stream.Name, life *simLife) {
	row := t.s.rows[name]
	row.ConfigVersion++
	version := row.ConfigVersion
	row.Config.RetentionSeconds = version
	t.s.rows[name] = row
	n.deliver(Configure{Name: name, ID: row.ID, Config: row.Config, ConfigVersion: version, Tag: func(r Reply) {
		if r.Err == nil {
			life.version = max(life.version, version)
		}
	}})
}

func (t *simTenants) trim(n *simNode, name stream.Name, id stream.ID, life *simLife) {
	to := life.tail
	life.asked = max(life.asked, to)
	for range 2 { // the second finds the first on its way
		n.deliver(Trim{Name: name, ID: id, Trim: to, Tag: func(r Reply) {
			if r.Err == nil {
				life.trim = max(life.trim, to)
			}
		}})
	}
}

// delete marks the row, has a writer bury the stream, and frees the name once it
// has; another writer is asked later if it has not.
func (t *simTenants) delete(n *simNode, name stream.Name, id stream.ID, life *simLife) {
	t.s.rows[name] = CatalogStream{}
	n.deliver(Tombstone{Name: name, ID: id, Tag: func(r Reply) {
		require.NotErrorIs(t.s.t, r.Err, ErrCatalogBehind, "it never is")
		if r.Err == nil && !life.dead {
			life.dead = true
			t.s.after(t.s.lag(), func() { t.create(name) })
		}
	}})
	t.s.after(t.s.lag()*20, func() {
		if !life.dead {
			t.delete(t.s.nodes[len(t.s.nodes)-1], name, id, life)
		}
	})
}

// deleteEmpty has a writer bury the stream if it is empty. The row goes afterwards.
func (t *simTenants) deleteEmpty(n *simNode, name stream.Name, id stream.ID, life *simLife) {
	then := *life
	now := uint64(t.s.now.UnixMilli()) + 10_000
	n.deliver(Tombstone{Name: name, ID: id, IfEmpty: true, Now: now, Tag: func(r Reply) {
		if r.Err != nil || life.dead {
			return
		}
		require.LessOrEqual(t.s.t, then.tail, life.asked, "a stream with acknowledged records was deleted for being empty")
		life.dead = true
		t.s.rows[name] = CatalogStream{}
		t.s.after(t.s.lag(), func() { t.create(name) })
	}})
}

// check finds every acknowledged record where it was acknowledged, once.
func (t *simTenants) check() {
	for id, life := range t.life {
		records := t.s.recordsOf(life.name.Shard(simShards), id)
		sorted := slices.Clone(records)
		slices.Sort(sorted)
		require.Len(t.s.t, slices.Compact(sorted), len(records), "a batch is there twice")
		for _, a := range t.acks {
			if a.ack.Stream == id {
				require.Greater(t.s.t, len(records), int(a.ack.First), "an acknowledged batch is lost")
				require.Equal(t.s.t, a.batch, records[a.ack.First], "an acknowledged batch is not where it was acknowledged")
			}
		}
	}
}
