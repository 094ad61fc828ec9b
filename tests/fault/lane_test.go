package fault

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/clock"

	"github.com/samsa-io/samsa/tests/history"
)

// A lane has one stream after the other.
type lane struct {
	id      int
	rng     *rand.Rand
	plain   []*client.Client // make one attempt
	patient []*client.Client // go on by themselves
	bucket  string
	life    time.Duration // of a stream
	workers int
	// patience is how long the last reads of a stream may take to be answered.
	patience time.Duration

	mu      sync.Mutex
	trimmed map[uint64]bool // where trims of the stream under way go: no two commands are alike
}

// run makes streams until ctx ends, and hands their histories over.
func (l *lane) run(ctx context.Context, done func(*history.History)) error {
	for n := 0; ctx.Err() == nil; n++ {
		h, err := l.one(l.name(n))
		if err != nil {
			return err
		}
		done(h)
	}
	return nil
}

func (l *lane) name(n int) string { return fmt.Sprintf("lane-%d-stream-%d", l.id, n) }

// create makes a stream. The client does not go on by itself where that may have
// happened already.
func (l *lane) create(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), recovery)
	defer cancel()
	config := client.StreamConfig{StorageClass: client.StorageClassExpress}
	if l.rng.IntN(2) == 0 {
		config.StorageClass = client.StorageClassStandard
	}
	for {
		_, err := l.patient[0].Bucket(l.bucket).CreateStream(ctx, name, config)
		if err == nil || errors.Is(err, client.ErrAlreadyExists) {
			return nil
		}
		if clock.Sleep(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("creating %s: %w", name, err)
		}
	}
}

// one runs one stream from beginning to end.
func (l *lane) one(name string) (*history.History, error) {
	l.trimmed = map[uint64]bool{}
	if err := l.create(name); err != nil {
		return nil, err
	}
	h := history.New(name)
	ctx, stop := context.WithTimeout(context.Background(), l.life)
	defer stop()
	f := l.follow(h)
	var workers []*worker
	for i := range l.workers {
		w := l.worker(i, h, l.plain)
		if i%2 == 0 {
			w.newProducer()
		}
		workers = append(workers, w)
	}
	session := &sessionWorker{worker: l.worker(l.workers, h, l.patient)}
	var group sync.WaitGroup
	group.Go(func() { session.run(ctx) })
	for _, w := range workers {
		group.Go(func() { w.run(ctx) })
	}
	group.Wait()
	last := l.worker(l.workers+2, h, l.plain)
	err := last.readLast()
	return h, errors.Join(err, f.end(last.tail))
}

func (l *lane) worker(id int, h *history.History, clients []*client.Client) *worker {
	w := &worker{
		id: id, h: h, lane: l, rng: rand.New(rand.NewPCG(l.rng.Uint64(), uint64(id))),
		stream: clients[l.rng.IntN(len(clients))].Bucket(l.bucket).Stream(h.Stream),
	}
	return w
}

// recovery bounds how long the system may take to work again after the faults are
// over, with room for slow machines.
const recovery = 2 * time.Minute

// readLast reads all that is left, however long it takes to be answered.
func (w *worker) readLast() error {
	for deadline := time.Now().Add(w.lane.patience); ; {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := w.readOnce(ctx, 0, nil)
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s cannot be read for %s: %w", w.h.Stream, w.lane.patience, err)
		}
		_ = clock.Sleep(context.Background(), 100*time.Millisecond)
	}
}

// trimTo is a place below tail that nobody has trimmed to.
func (l *lane) trimTo(tail uint64) (uint64, bool) {
	if tail < 2 {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	to := 1 + l.rng.Uint64N(tail-1)
	if l.trimmed[to] {
		return 0, false
	}
	l.trimmed[to] = true
	return to, true
}

// mayTrim tells whether anybody has begun to ask for the records before seq to go.
func (l *lane) mayTrim(seq uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for to := range l.trimmed {
		if to >= seq {
			return true
		}
	}
	return false
}

func command(name string, body []byte) []client.AppendRecord {
	return []client.AppendRecord{{Headers: []client.Header{{Value: []byte(name)}}, Body: body}}
}

func bigEndian(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func digestOf(headers []client.Header, body []byte) history.Digest {
	parts := [][]byte{body}
	for _, h := range headers {
		parts = append(parts, h.Name, h.Value)
	}
	return history.DigestOf(parts...)
}
