package server

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/objstore"
)

// gatedStore lets no segment through until its gate is closed.
type gatedStore struct {
	objstore.Store
	gate chan struct{}
}

func (s gatedStore) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	if strings.HasPrefix(key, "log/") {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Store.PutIfAbsent(ctx, key, body)
}

// holds tells whether more than n bytes are taken.
func (a *Admission) holds(n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inFlight > n
}

func (a *Admission) empty() bool { return !a.holds(0) }

func TestAdmission_HoldsTheRoomOfABatchWhoseClientHasLeft(t *testing.T) {
	store := gatedStore{objstore.NewMem(), make(chan struct{})}
	c := start(t, store)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error)
	go func() {
		_, err := c.Append(ctx, &samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x")})
		failed <- err
	}()
	require.Eventually(t, func() bool { return !c.admission.empty() }, 5*time.Second, time.Millisecond)
	cancel()
	require.Error(t, <-failed)
	require.Never(t, c.admission.empty, 100*time.Millisecond, 10*time.Millisecond, "the batch is still in memory")
	close(store.gate)
	require.Eventually(t, c.admission.empty, 5*time.Second, 10*time.Millisecond)
}

func TestAppendSession_GivesAllRoomBackWhenABatchFailsAfterTheClientIsDone(t *testing.T) {
	store := gatedStore{objstore.NewMem(), make(chan struct{})}
	c := start(t, store)
	session, err := c.AppendSession(t.Context())
	require.NoError(t, err)
	wrong := uint64(7)
	for i := range 10 {
		r := &samsav1.AppendSessionRequest{Bucket: "bucket", Stream: "s", Records: body("x")}
		if i == 3 {
			r.MatchSeqNum = &wrong
		}
		require.NoError(t, session.Send(r))
	}
	require.NoError(t, session.CloseSend())
	require.Eventually(t, func() bool { return c.admission.holds(4 * requestOverhead) }, 5*time.Second, time.Millisecond)
	close(store.gate)
	for err == nil {
		_, err = session.Recv()
	}
	require.NotErrorIs(t, err, io.EOF)
	require.Eventually(t, c.admission.empty, 5*time.Second, 10*time.Millisecond)
}
