package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/tests/cluster"
)

// kills is how often TestFailover kills the owner: KILLS, or few.
func kills(t *testing.T) int {
	text, given := os.LookupEnv("KILLS")
	if !given {
		return 3
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, "KILLS: want a number of kills")
	return n
}

// TestFailover measures how long a stream cannot be appended to when its owner is
// killed under load. Nothing may be lost or doubled; the times are printed.
func TestFailover(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Writers: 3, Store: cluster.S3})
	cl := cluster.Client(t, c)
	stream := newStream(t, cl, "failover")
	ctx := t.Context() // as long as it takes
	load := make([]*appendSession, 4)
	stop := make(chan struct{})
	var group sync.WaitGroup
	for i := range load {
		load[i] = &appendSession{}
		other := newStream(t, cl, fmt.Sprintf("load-%d", i))
		group.Go(func() { _ = load[i].run(ctx, other, func(int) bool { return isClosed(stop) }) })
	}
	var session appendSession
	var gap []time.Duration
	for n := range kills(t) {
		require.NoError(t, session.run(within(t), stream, func(acks int) bool { return acks%20 == 0 && acks > 0 }))
		owner := c.OwnerOf(t, "failover", "s")
		session.gaps = gaps{}
		killed := time.Time{}
		err := session.run(within(t), stream, func(acks int) bool {
			if killed.IsZero() && acks%20 == 10 {
				killed = time.Now()
				c.Kill(t, owner)
			}
			return !killed.IsZero() && acks%20 == 0
		})
		require.NoError(t, err)
		gap = append(gap, session.gaps.longest)
		t.Logf("kill %d of %s: %s; %s", n, owner, session.gaps.longest.Round(time.Millisecond), phases(t, c, killed))
		c.Restart(t, owner)
	}
	close(stop)
	group.Wait()
	requireLines(t, stream, session.lines)
	slices.Sort(gap)
	t.Logf("%d kills: gap p50 %s, p99 %s, max %s", len(gap),
		gap[len(gap)/2].Round(time.Millisecond), gap[len(gap)*99/100].Round(time.Millisecond), gap[len(gap)-1].Round(time.Millisecond))
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// phases tells from the logs what happened how long after the kill.
func phases(t *testing.T, c *cluster.Cluster, killed time.Time) string {
	t.Helper()
	var told []string
	for _, name := range []string{"router-0", "stream-writer-0", "stream-writer-1", "stream-writer-2"} {
		log, err := os.ReadFile(c.Process(t, name).Log)
		require.NoError(t, err)
		for _, text := range bytes.Split(log, []byte("\n")) {
			var entry struct {
				Time time.Time `json:"time"`
				Msg  string    `json:"msg"`
			}
			if json.Unmarshal(text, &entry) != nil || !entry.Time.After(killed) {
				continue
			}
			switch entry.Msg {
			case "sealed a log", "a writer was asked to take a shard":
				told = append(told, fmt.Sprintf("%s %q after %s", name, entry.Msg, entry.Time.Sub(killed).Round(time.Millisecond)))
			}
		}
	}
	return fmt.Sprint(told)
}
