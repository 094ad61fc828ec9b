package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"

	"github.com/samsa-io/samsa/tests/cluster"
)

// TestRolling has two writers begin another log every second while sessions and
// single appends go on that are never tried again: none may fail, and none be lost
// or doubled, for readers of the past and of the present.
func TestRolling(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Writers: 2, Store: cluster.File, Env: append(cluster.PatientOwners(), "SAMSA_STORAGE_ROLL_INTERVAL_SECS=1")})
	patient := cluster.Client(t, c)
	strict := cluster.Client(t, c, client.WithRetry(client.Retry{Policy: client.RetryNone}))
	streams := make([]*rolling, 6)
	for i := range streams {
		bucket := fmt.Sprintf("rolling-%d", i)
		streams[i] = &rolling{read: newStream(t, patient, bucket), write: strict.Bucket(bucket).Stream("s")}
		streams[i].followed = follow(within(t), streams[i].read)
	}
	const rolls = 10
	over := func() bool { return rolled(t, c, "stream-writer-0")+rolled(t, c, "stream-writer-1") >= rolls }
	ctx, begun := within(t), time.Now()
	var group sync.WaitGroup
	for i, s := range streams {
		group.Go(func() { s.appendUntil(ctx, i%2 == 0, over) })
	}
	group.Wait()
	t.Logf("%d rolls in %s", rolls, time.Since(begun).Round(time.Millisecond))
	for i, s := range streams {
		require.NoError(t, s.err)
		t.Logf("stream %d: %d lines, the longest time between two acks: %s", i, len(s.lines), s.gaps.longest.Round(time.Millisecond))
		requireLines(t, s.read, s.lines)
		s.followed.requireSaw(t, len(s.lines))
	}
}

// rolling is a stream under load.
type rolling struct {
	appendSession
	read, write *client.Stream
	followed    *follower
	err         error
}

func (r *rolling) appendUntil(ctx context.Context, inSession bool, over func() bool) {
	if inSession {
		r.err = r.run(ctx, r.write, func(acks int) bool { return acks%20 == 19 && over() })
		return
	}
	for len(r.lines)%20 != 19 || !over() {
		body := line(len(r.lines))
		ack, err := r.write.Append(ctx, client.AppendInput{Records: []client.AppendRecord{{Body: body}}})
		if err == nil && ack.StartSeqNum != uint64(len(r.lines)) {
			err = fmt.Errorf("line %d is record %d", len(r.lines), ack.StartSeqNum)
		}
		if err != nil {
			r.err = err
			return
		}
		r.lines = append(r.lines, body)
		r.gaps.ack()
	}
}

// rolled is how often a writer that goes on has ended a log by itself.
func rolled(t *testing.T, c *cluster.Cluster, name string) int {
	log, err := os.ReadFile(c.Process(t, name).Log)
	if err != nil {
		t.Error(err)
	}
	return bytes.Count(log, []byte("has retired a log"))
}
