package fake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/live"
)

// Shards is how many shards a Cluster has.
const Shards = 3

const window = 4

// Cluster is a set of owners, one for each shard.
type Cluster struct {
	Store *objstore.Mem
	Bus   *Bus
	// IndexBytes bounds what a new owner's index remembers.
	IndexBytes int64
	// InlineBytes of a block may come along with an answer or a notification.
	InlineBytes int

	mu      sync.Mutex
	owners  map[stream.Shard]*owner
	streams map[stream.Name]*Stream
	down    map[stream.Shard]bool
	asked   int
	carried int
}

// Record is a record of the model.
type Record struct {
	Timestamp uint64
	IDMillis  uint64
	Headers   []*samsav1.Header
	Body      []byte
}

// Metered is what the record counts for in limits.
func (r Record) Metered() uint64 {
	n := 8 + len(r.Body)
	for _, h := range r.Headers {
		n += 2 + len(h.Name) + len(h.Value)
	}
	return uint64(n)
}

// Stream is a stream of the model.
type Stream struct {
	ID      stream.ID
	Name    stream.Name
	Records []Record
	Trim    stream.SeqNum
	Trims   []stream.SeqNum // that there have been
	Gone    error           // what Locate says of it
}

// owner is who owns a shard.
type owner struct {
	entry segment.ChainEntry
	next  stream.Slot
	last  uint64 // the last slot announced, plus one
	index *logindex.Index
	data  map[dataKey][]byte
}

type dataKey struct {
	log    stream.Incarnation
	slot   stream.Slot
	offset uint64
}

// ErrDown is what an owner that is down answers.
var ErrDown = errors.New("fake: the owner does not answer")

// ErrNoStream is what Locate says of a stream that was never created.
var ErrNoStream = rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, "fake: no such stream")

// New makes a Cluster; each shard has an owner.
func New() *Cluster {
	c := &Cluster{
		Store: objstore.NewMem(), Bus: NewBus(), IndexBytes: 1 << 20, InlineBytes: 1 << 20,
		owners: map[stream.Shard]*owner{}, streams: map[stream.Name]*Stream{}, down: map[stream.Shard]bool{},
	}
	for shard := range stream.Shard(Shards) {
		c.owners[shard] = c.newOwner(segment.ChainEntry{Shard: shard})
	}
	return c
}

func (c *Cluster) newOwner(entry segment.ChainEntry) *owner {
	entry.Owner, entry.Window = stream.NewIncarnation(), window
	c.put(segment.ChainKey(entry.Shard, entry.Epoch), entry.Encode())
	return &owner{entry: entry, index: logindex.NewIndex(c.IndexBytes), data: map[dataKey][]byte{}}
}

func (c *Cluster) put(key string, body []byte) {
	if err := c.Store.PutIfAbsent(context.Background(), key, body); err != nil {
		panic(err)
	}
}

// Create makes a stream.
func (c *Cluster) Create(name stream.Name) *Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &Stream{ID: stream.NewID(), Name: name}
	c.streams[name] = s
	return s
}

// Name is the n-th stream's name.
func Name(n int) stream.Name { return stream.Name{Bucket: "bucket", Stream: fmt.Sprint("stream-", n)} }

// Shard is a stream's shard.
func Shard(name stream.Name) stream.Shard { return name.Shard(Shards) }

// Append makes records durable in one slot and announces them, unless quiet.
func (c *Cluster) Append(s *Stream, quiet bool, batches ...[]Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.owners[Shard(s.Name)]
	seg := &segment.Segment{Header: segment.Header{Log: o.entry.Owner, Slot: o.next, Window: window}}
	for _, records := range batches {
		seg.Batches = append(seg.Batches, o.batch(s, records))
		s.Records = append(s.Records, records...)
	}
	body := seg.Encode()
	c.put(segment.SlotKey(o.entry.Owner, o.next), body)
	slot := o.next
	o.next++
	o.index.AddSection(o.entry.Owner, slot, seg.Sections()[0])
	c.announce(o, s, slot, seg.Sections()[0].Streams[0].Blocks, body, quiet)
}

func (o *owner) batch(s *Stream, records []Record) segment.Batch {
	b := segment.Batch{
		Shard: o.entry.Shard, Epoch: o.entry.Epoch, Stream: s.ID,
		First: stream.SeqNum(len(s.Records)), IDMillis: records[0].IDMillis,
	}
	for _, r := range records {
		b.Timestamps = append(b.Timestamps, r.Timestamp)
		b.Payload = segment.AppendRecord(b.Payload, r.Headers, r.Body)
	}
	return b
}

func (c *Cluster) announce(o *owner, s *Stream, slot stream.Slot, refs []segment.BlockRef, body []byte, quiet bool) {
	n := &live.Notification{
		Log: o.entry.Owner, Shard: o.entry.Shard, Epoch: o.entry.Epoch, Slot: slot, Before: o.last,
	}
	o.last = uint64(slot) + 1
	for _, ref := range refs {
		data := body[ref.Offset : ref.Offset+uint64(ref.Stored)]
		if len(data) <= c.InlineBytes {
			o.data[dataKey{o.entry.Owner, slot, ref.Offset}] = data
		} else {
			data = nil
		}
		n.Appends = append(n.Appends, live.Append{
			Stream: s.ID, Block: logindex.Block{Log: o.entry.Owner, Slot: slot, BlockRef: ref}, Data: data,
		})
	}
	if !quiet {
		c.Bus.publish(n)
	}
}

// Takeover gives a shard to another owner, who remembers no block.
func (c *Cluster) Takeover(shard stream.Shard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.owners[shard]
	ref := segment.StateRef{Shard: shard, Epoch: old.entry.Epoch + 1, Slot: old.next}
	state := segment.State{Shard: ref.Shard, Epoch: ref.Epoch, Slot: ref.Slot}
	for _, s := range c.streams {
		if Shard(s.Name) == shard {
			tail := s.tail()
			state.Streams = append(state.Streams, segment.StreamState{
				ID: s.ID, Name: s.Name, Tail: tail.Next, LastTimestamp: tail.LastTimestamp, LastIDMillis: tail.LastIDMillis})
		}
	}
	c.put(segment.StateKey(ref.Shard, ref.Epoch, ref.Slot), state.Encode())
	c.owners[shard] = c.newOwner(segment.ChainEntry{
		Shard: shard, Epoch: ref.Epoch, PredecessorEnd: old.next, State: &ref})
}

// SetDown stops a shard's owner from answering, or lets it answer again.
func (c *Cluster) SetDown(shard stream.Shard, down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down[shard] = down
}

// Trim moves a stream's trim point.
func (c *Cluster) Trim(s *Stream, to stream.SeqNum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to > s.Trim {
		s.Trim, s.Trims = to, append(s.Trims, to)
	}
}

// Delete makes Locate fail with err, and tells about it.
func (c *Cluster) Delete(s *Stream, err error) {
	c.mu.Lock()
	s.Gone = &live.GoneError{Err: err}
	c.mu.Unlock()
	c.Bus.publishChange(live.Change{Bucket: s.Name.Bucket, Stream: s.Name.Stream})
}

// Refuse makes Locate fail with err.
func (c *Cluster) Refuse(s *Stream, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Gone = err
}

// Damage flips a bit of a stream's newest block where it is stored; it returns the
// object and the block's place in it.
func (c *Cluster) Damage(s *Stream) (key string, offset uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.owners[Shard(s.Name)]
	span, _ := o.index.Lookup(s.ID, s.tail().Next-1, 1)
	block := span.Blocks[0]
	object, err := c.Store.Get(context.Background(), block.Key(), objstore.Whole)
	if err != nil {
		panic(err)
	}
	body := slices.Clone(object.Body)
	body[block.Offset] ^= 1
	if err := c.Store.Delete(context.Background(), block.Key()); err != nil {
		panic(err)
	}
	c.put(block.Key(), body)
	return block.Key(), block.Offset
}

// Len is how many records a stream has.
func (c *Cluster) Len(s *Stream) stream.SeqNum {
	c.mu.Lock()
	defer c.mu.Unlock()
	return stream.SeqNum(len(s.Records))
}

// Trimmed is a stream's trim point.
func (c *Cluster) Trimmed(s *Stream) stream.SeqNum {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.Trim
}

// Asked counts the calls of Locate.
func (c *Cluster) Asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// Carried counts the bytes of blocks that came along with answers of Locate.
func (c *Cluster) Carried() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.carried
}

// RunBeacons publishes beacons until ctx ends.
func (c *Cluster) RunBeacons(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.Bus.publishBeacon(c.beacon())
		}
	}
}

func (c *Cluster) beacon() *live.Beacon {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &live.Beacon{}
	for shard, o := range c.owners {
		b.Shards = append(b.Shards, live.ShardBeacon{Shard: shard, Epoch: o.entry.Epoch, Last: o.last})
	}
	return b
}

func (s *Stream) tail() live.Tail {
	if len(s.Records) == 0 {
		return live.Tail{}
	}
	last := s.Records[len(s.Records)-1]
	return live.Tail{Next: stream.SeqNum(len(s.Records)), LastTimestamp: last.Timestamp, LastIDMillis: last.IDMillis}
}
