package server

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/rpc"
)

func newAdmission(t *testing.T, c AdmissionConfig) *Admission {
	a, err := NewAdmission(c, prometheus.NewRegistry())
	require.NoError(t, err)
	return a
}

// slowStore stores what it is given one after the other, at a steady pace.
type slowStore struct {
	mu    sync.Mutex
	free  time.Time // when it is done with all it has
	bytes float64   // a second
}

func (s *slowStore) done(n int) <-chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.free.Before(now) {
		s.free = now
	}
	s.free = s.free.Add(time.Duration(float64(n) / s.bytes * float64(time.Second)))
	return time.After(time.Until(s.free))
}

// load is what becomes of appends.
type load struct {
	mu              sync.Mutex
	stored, refused int
	slowest         time.Duration
	hints           []time.Duration
}

func (l *load) append(ctx context.Context, a *Admission, s *slowStore, n int) {
	begun := time.Now()
	release, err := a.Admit(ctx, n)
	if err == nil {
		<-s.done(n)
		release()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.refused++
		l.hints = append(l.hints, rpc.RetryAfter(err))
		return
	}
	l.stored += n
	l.slowest = max(l.slowest, time.Since(begun))
}

// Five times as much as the store takes: what it can take is stored, soon, and the
// rest is refused with a hint.
func TestAdmission_KeepsGoodputAndLatencyUnderOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pace, batch, seconds = 10 << 20, 64 << 10, 30
		a := newAdmission(t, AdmissionConfig{Bytes: 256 << 20, Floor: 8 << 20, Queue: 2 * time.Second, Patience: time.Second})
		store, l := &slowStore{bytes: pace}, &load{}
		var running sync.WaitGroup
		most := int64(0)
		for range 5 * pace / batch * seconds {
			running.Go(func() { l.append(t.Context(), a, store, batch) })
			time.Sleep(time.Second * batch / (5 * pace))
			a.mu.Lock()
			most = max(most, a.inFlight+a.waiting)
			a.mu.Unlock()
		}
		running.Wait()
		require.GreaterOrEqual(t, l.stored, pace*seconds*9/10)
		require.Less(t, l.slowest, 5*time.Second)
		require.Less(t, most, int64(128<<20))
		require.NotZero(t, l.refused)
		for _, hint := range l.hints {
			require.GreaterOrEqual(t, hint, leastRetry)
			require.LessOrEqual(t, hint, mostRetry)
		}
		require.Zero(t, a.inFlight)
		require.Zero(t, a.waiting)
	})
}

// What the store takes without a backlog is never refused, from the first burst on.
func TestAdmission_RefusesNothingThatTheStoreTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(t, AdmissionConfig{Bytes: 256 << 20, Floor: 8 << 20, Queue: 2 * time.Second, Patience: time.Second})
		store, l := &slowStore{bytes: 100 << 20}, &load{}
		for range 3 {
			var running sync.WaitGroup
			for range 150 { // a second and a half of work at once
				running.Go(func() { l.append(t.Context(), a, store, 1<<20) })
			}
			running.Wait()
			time.Sleep(time.Hour)
		}
		require.Zero(t, l.refused)
	})
}

// A few appends that wait for something else say nothing about the store.
func TestAdmission_IsNotMisledByAppendsThatWaitForTheCatalog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(t, AdmissionConfig{Bytes: 256 << 20, Floor: 8 << 20, Queue: 2 * time.Second, Patience: time.Second})
		for range 100 {
			_, err := a.Admit(t.Context(), 1000)
			require.NoError(t, err)
		}
		time.Sleep(time.Hour)
		store, l := &slowStore{bytes: 100 << 20}, &load{}
		var running sync.WaitGroup
		for range 100 {
			running.Go(func() { l.append(t.Context(), a, store, 1<<20) })
		}
		running.Wait()
		require.Zero(t, l.refused)
	})
}

func TestAdmission_RefusesAtOnceWhenManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(t, AdmissionConfig{Bytes: 10 << 20, Floor: 1 << 20, Queue: time.Hour, Patience: time.Minute})
		release, err := a.Admit(t.Context(), 10<<20)
		require.NoError(t, err)
		var waiting sync.WaitGroup
		for range 2 {
			waiting.Go(func() {
				leave, err := a.Admit(t.Context(), 1<<20)
				require.NoError(t, err)
				leave()
			})
		}
		synctest.Wait()
		begun := time.Now()
		_, err = a.Admit(t.Context(), 1<<20)
		require.Equal(t, codes.ResourceExhausted, status.Code(err))
		require.Zero(t, time.Since(begun))
		release()
		waiting.Wait()
	})
}

func TestAppend_IsHeldToTheRateOfItsStream(t *testing.T) {
	c := startLimited(t, objstore.NewMem(), limit.NewRates(limit.Rate{Records: 5}, "stream_writer.stream", nil))
	many := make([]*samsav1.AppendRecord, 20)
	for i := range many {
		many[i] = &samsav1.AppendRecord{Body: []byte("x")}
	}
	_, err := c.Append(t.Context(), &samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: many})
	require.NoError(t, err)
	_, err = c.Append(t.Context(), &samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x")})
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	require.Equal(t, "stream_writer.stream_records_per_sec", rpc.Detail(err).GetMetadata()["limit"])
	require.Positive(t, rpc.RetryAfter(err))
	_, err = c.Append(t.Context(), &samsav1.AppendRequest{Bucket: "bucket", Stream: "other", Records: body("x")})
	require.NoError(t, err)

	session, err := c.AppendSession(t.Context())
	require.NoError(t, err)
	begun := time.Now()
	for range 2 {
		require.NoError(t, session.Send(&samsav1.AppendSessionRequest{Bucket: "bucket", Stream: "third", Records: many[:7]}))
		_, err := session.Recv()
		require.NoError(t, err)
	}
	require.Greater(t, time.Since(begun), 300*time.Millisecond, "a session is slowed down")
	require.NoError(t, session.CloseSend())
}
