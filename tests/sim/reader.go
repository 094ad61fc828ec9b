package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/history"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/owner"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// reader is a stream-reader.
type reader struct {
	*process
	s       *Sim
	bus     *messages
	hub     *live.Hub
	service *read.Service
}

func (s *Sim) addReader() *reader {
	s.readersMade++
	r := &reader{process: s.newProcess(fmt.Sprint("r", s.readersMade)), s: s}
	r.bus = &messages{w: s.World, shards: map[int]shardHandler{}, beacons: map[int]func(*live.Beacon){}}
	store := client{s.store, r.process}
	blocks := logindex.NewBlocks(store, logindex.BlocksConfig{CacheBytes: 4000, InflightBytes: 1 << 20, Parallel: 1}, nil)
	footers := logindex.NewLocator(store, logindex.LocatorConfig{FooterCacheBytes: 40_000, StateCacheBytes: 40_000, Parallel: 1})
	locator := history.New(connection{s.database, r.process}, footers, 3000)
	asks := owner.New(owner.Config{Shards: simShards, Wait: time.Second}, router{s, r.process})
	following := live.DefaultConfig()
	following.RingBytes, following.TotalBytes, following.RepairBytes = 1000, 4000, 500
	following.Recheck = 1000 * time.Hour // the only random one
	following.Ask = time.Second
	r.hub = live.NewHub(following, asks, blocks, r.bus, zap.NewNop(), live.NewMetrics(nil))
	config := read.DefaultConfig()
	config.Shards = simShards
	r.service = read.New(config, asks, locator, blocks, r.hub, nil)
	s.readers = append(s.readers, r)
	return r
}

// stop ends a reader: killed, so that nothing it still does has an effect.
func (r *reader) stop() {
	r.die()
	r.service.Stop()
	r.hub.Close()
}

// record is what a client gets of a record.
type record struct {
	at   stream.SeqNum
	id   recordID
	salt stream.Salt
}

// decode reads a response's records; it is called by the goroutine that has them.
func decode(batch []byte) ([]record, error) {
	var m samsav1.ReadResponse
	if err := proto.Unmarshal(batch, &m); err != nil {
		return nil, err
	}
	var out []record
	for _, r := range m.GetBatch().GetRecords() {
		id, err := stream.ParseSeqID(r.GetSeqId())
		switch {
		case err != nil:
			return nil, err
		case id.SeqNum() != stream.SeqNum(r.GetSeqNum()):
			return nil, fmt.Errorf("the record at %d has an id of %d", r.GetSeqNum(), id.SeqNum())
		case len(r.GetBody()) != 8:
			return nil, fmt.Errorf("the record at %d has a body of %d bytes", r.GetSeqNum(), len(r.GetBody()))
		}
		out = append(out, record{id.SeqNum(), recordID(binary.BigEndian.Uint64(r.GetBody())), id.Salt()})
	}
	return out, nil
}

// answer is what a read brought.
type answer struct {
	records []record
	result  read.Result
	err     error
}

// read reads from somewhere and checks what comes, as a client of its own.
func (s *Sim) read(r *reader, name stream.Name) {
	l := s.model.lives[s.rows[name].ID]
	if l == nil {
		return
	}
	s.stats.Reads++
	from := stream.SeqNum(s.rng.Uint64N(uint64(l.tail) + 3))
	limits := frame.NoLimits()
	if s.rng.IntN(2) == 0 {
		limits.Count = uint64(1 + s.rng.IntN(20))
	}
	req := read.Request{Name: name, Limits: limits, Start: live.Start{Kind: live.AtSeqNum, Value: uint64(from)}}
	then := *l
	what := fmt.Sprintf("%s read %s from %d", r.name, name.Stream, from)
	go func() {
		a := r.read(req)
		s.post(what, func() {
			if !r.dead {
				s.checkRead(l, &then, from, limits.Count, a)
			}
		})
	}()
}

func (r *reader) read(req read.Request) (a answer) {
	ctx, cancel := context.WithTimeout(r.ctx, 20*time.Second)
	defer cancel()
	a.result, a.err = r.service.Read(ctx, req)
	if a.err == nil && a.result.Frame != nil {
		a.records, a.err = decode(a.result.Frame.Batch())
		if a.err != nil {
			a.err = &badRecords{a.err}
		}
	}
	return a
}

// badRecords is an answer that makes no sense.
type badRecords struct{ error }

// checkRead compares what a read brought with what clients knew when it began.
func (s *Sim) checkRead(l, then *life, from stream.SeqNum, count uint64, a answer) {
	var bad *badRecords
	s.mustf(!errors.As(a.err, &bad), "I12: %v", a.err)
	var past *read.PastTailError
	if errors.As(a.err, &past) {
		s.mustf(past.Tail.Next >= then.tail || !s.same(l, past.NextID.Salt()), "I6: a refused read names tail %d and hides what was acknowledged up to %d", past.Tail.Next, then.tail)
		return
	}
	if a.err != nil {
		s.failedReads[errorKind(a.err)]++
		return
	}
	for _, r := range a.records {
		if !s.same(l, r.salt) {
			return // the name went to another stream meanwhile
		}
	}
	if a.result.Tail != nil {
		if !s.same(l, a.result.TailID.Salt()) {
			return
		}
		s.mustf(a.result.Tail.Next >= then.tail, "I6: a read names tail %d and hides what was acknowledged up to %d", a.result.Tail.Next, then.tail)
	}
	s.mustf(!then.dead, "I6: a read of a stream that was deleted before")
	s.stats.Records += len(a.records)
	s.checkRun(l, from, a.records, "a read")
	for i, r := range a.records {
		s.mustf(r.at == a.records[0].at+stream.SeqNum(i), "I5: one answer goes from %d to %d", a.records[0].at+stream.SeqNum(i)-1, r.at)
	}
	end := from
	if n := len(a.records); n > 0 {
		end = a.records[n-1].at + 1
	}
	wanted := max(from, l.trimAsked)
	short := uint64(len(a.records)) < count
	trimmed := len(a.records) > 0 && end < l.trimAsked // behind the end, meanwhile
	s.mustf(end >= then.tail || !short || end > wanted || wanted >= then.tail || trimmed,
		"I6: a read from %d ends at %d, below the tail %d", from, end, then.tail)
	s.mustf(a.result.Next == max(end, a.result.Next), "a read goes on before its end")
}

func (s *Sim) same(l *life, salt stream.Salt) bool { return l.id.Salt() == salt }

// checkRun wants records to be dense from a position on; what is trimmed meanwhile
// may be left out.
func (s *Sim) checkRun(l *life, from stream.SeqNum, records []record, how string) {
	next := from
	for _, r := range records {
		s.mustf(l.follows(next, r.at),
			"I5: %s of stream %s goes from %d to %d, trimmed to %d at most", how, l.id, next, r.at, l.trimAsked)
		s.model.see(l, r.at, r.id, how)
		next = r.at + 1
	}
}

// follower is a client with a session that reads a stream live. It goes on
// elsewhere when the session ends.
type follower struct {
	s       *Sim
	life    *life
	next    stream.SeqNum
	attempt int
	cancel  context.CancelFunc
}

// open begins a session where the last one ended.
func (f *follower) open() {
	f.attempt++
	attempt, r := f.attempt, f.s.someReader()
	ctx, cancel := context.WithCancel(r.ctx)
	f.cancel = cancel
	what := fmt.Sprintf("%s follows %s", r.name, f.life.name.Stream)
	req := read.Request{
		Name: f.life.name, Limits: frame.NoLimits(), Clamp: true, Wait: time.Hour,
		Start: live.Start{Kind: live.AtSeqNum, Value: uint64(f.next)},
	}
	go func() {
		err := r.service.Session(ctx, req, func(o read.Output) (time.Duration, error) {
			if o.Frame == nil {
				return 0, nil
			}
			records, err := decode(o.Frame.Batch())
			f.s.post(what, func() {
				if attempt == f.attempt && !r.dead {
					f.take(records, err)
				}
			})
			return 0, nil
		})
		f.s.post(what+" ends", func() { f.ended(attempt, err) })
	}()
}

func (f *follower) take(records []record, err error) {
	f.s.mustf(err == nil, "I12: a session of %s: %v", f.life.name.Stream, err)
	f.s.stats.Followed += len(records)
	for _, r := range records {
		f.s.mustf(f.life.follows(f.next, r.at), // the stream may be trimmed at any time
			"I5: a session of %s goes from %d to %d, trimmed to %d at most", f.life.name.Stream, f.next, r.at, f.life.trimAsked)
		f.s.model.see(f.life, r.at, r.id, "a session")
		f.next = r.at + 1
	}
}

func (f *follower) ended(attempt int, err error) {
	if attempt != f.attempt {
		return
	}
	if err != nil {
		f.s.failedReads["session: "+errorKind(err)]++
	}
	f.s.after(f.s.lag(), "follow again "+f.life.name.Stream, func() {
		if attempt == f.attempt && !f.s.over {
			f.open()
		}
	})
}

// errorKind is an error without what differs from one to the next.
func errorKind(err error) string {
	var damage *logindex.DamageError
	var gone *live.GoneError
	var unavailable *history.UnavailableError
	switch {
	case errors.As(err, &damage):
		if logindex.Missing(err) {
			return "missing"
		}
		return "damage"
	case errors.As(err, &gone):
		return "gone"
	case errors.As(err, &unavailable):
		return "index unavailable"
	case errors.Is(err, errKilled), errors.Is(err, context.Canceled), errors.Is(err, read.ErrStopping):
		return "killed"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case errors.Is(err, errStore):
		return "store"
	}
	if status.Code(err) == codes.Unavailable {
		return "owner unavailable"
	}
	return "other: " + err.Error()
}
