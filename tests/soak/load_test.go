package soak

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/clock"
)

const (
	bucket    = "soak"
	batch     = 10
	kept      = 3000 // records that are left of a trimmed stream
	retention = 60   // seconds
	recordLen = 300
)

// load uses the system in every way at once.
type load struct {
	client *client.Client
	ctx    context.Context
	group  sync.WaitGroup

	appended, followed, read, churned atomic.Int64

	mu     sync.Mutex
	errors []error
}

func startLoad(ctx context.Context, t *testing.T, c *client.Client) *load {
	_, err := c.CreateBucket(ctx, bucket, client.BucketConfig{})
	require.NoError(t, err)
	l := &load{client: c, ctx: ctx}
	for i := range 3 {
		l.stream(t, fmt.Sprintf("trimmed-%d", i), client.StreamConfig{}, l.trim)
		l.stream(t, fmt.Sprintf("aging-%d", i), client.StreamConfig{RetentionAge: new(retention * time.Second)}, nil)
	}
	l.group.Go(l.churn)
	return l
}

// stream appends to a stream, follows it and reads it.
func (l *load) stream(t *testing.T, name string, config client.StreamConfig, also func(*client.Stream)) {
	_, err := l.client.Bucket(bucket).CreateStream(l.ctx, name, config)
	require.NoError(t, err)
	s := l.client.Bucket(bucket).Stream(name)
	l.group.Go(func() { l.append(s) })
	l.group.Go(func() { l.follow(s) })
	l.group.Go(func() { l.readBack(s) })
	if also != nil {
		l.group.Go(func() { also(s) })
	}
}

func (l *load) fail(err error) {
	if l.ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors = append(l.errors, err)
}

func (l *load) append(s *client.Stream) {
	session := s.AppendSession(l.ctx, client.SessionOptions{ProducerID: "p"})
	for l.ctx.Err() == nil {
		var input client.AppendInput
		for range batch {
			input.Records = append(input.Records, client.AppendRecord{Body: make([]byte, recordLen)})
		}
		pending, err := session.Submit(l.ctx, input)
		if err == nil {
			_, err = pending.Wait(l.ctx)
		}
		if err != nil {
			l.fail(fmt.Errorf("append to %s: %w", s.Name(), err))
			return
		}
		l.appended.Add(batch)
		_ = clock.Sleep(l.ctx, 100*time.Millisecond)
	}
}

func (l *load) follow(s *client.Stream) {
	session := s.ReadSession(l.ctx, client.Read{Start: client.FromSeqNum(0)})
	defer session.Close()
	for {
		b, err := session.Next()
		if err != nil {
			l.fail(fmt.Errorf("follow %s: %w", s.Name(), err))
			return
		}
		l.followed.Add(int64(len(b.Records)))
	}
}

func (l *load) readBack(s *client.Stream) {
	for l.ctx.Err() == nil {
		result, err := s.Read(l.ctx, client.Read{Start: client.FromSeqNum(0), Count: new(uint64(500))})
		if err != nil {
			l.fail(fmt.Errorf("read %s: %w", s.Name(), err))
			return
		}
		l.read.Add(int64(len(result.Records)))
		_ = clock.Sleep(l.ctx, time.Second)
	}
}

func (l *load) trim(s *client.Stream) {
	for l.ctx.Err() == nil {
		_ = clock.Sleep(l.ctx, 2*time.Second)
		tail, err := s.CheckTail(l.ctx)
		if err == nil && tail.SeqNum > kept {
			_, err = s.Trim(l.ctx, tail.SeqNum-kept, client.Conditions{})
		}
		// A trim may be done twice: what it says holds either way.
		if err != nil && !errors.Is(err, client.ErrOutcomeUnknown) {
			l.fail(fmt.Errorf("trim %s: %w", s.Name(), err))
			return
		}
	}
}

// churn makes streams and deletes them a few seconds later.
func (l *load) churn() {
	const alive = 10
	b := l.client.Bucket(bucket)
	for n := 0; l.ctx.Err() == nil; n++ {
		name := fmt.Sprintf("churn-%d", n)
		_, err := b.CreateStream(l.ctx, name, client.StreamConfig{})
		if errors.Is(err, client.ErrAlreadyExists) {
			err = nil // the reply to a first attempt was lost
		}
		if err == nil {
			_, err = b.Stream(name).Append(l.ctx, client.AppendInput{Records: []client.AppendRecord{{Body: make([]byte, recordLen)}}},
				client.AsProducer(client.ProducerSeq{ID: "p"}))
		}
		if err == nil && n >= alive {
			if err = b.DeleteStream(l.ctx, fmt.Sprintf("churn-%d", n-alive)); errors.Is(err, client.ErrDeletionPending) || errors.Is(err, client.ErrNotFound) {
				err = nil // likewise
			}
		}
		if err != nil {
			l.fail(fmt.Errorf("churn: %w", err))
			return
		}
		l.churned.Add(1)
		_ = clock.Sleep(l.ctx, time.Second)
	}
}
