package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"

	"github.com/samsa-io/samsa/tests/cluster"
)

// TestDraining drains the writers one after the other, with the command line, under
// load: single appends that are never tried again, and sessions, which the client
// resumes. None may fail, and none be lost or doubled. In between it prints how the
// shards are spread.
func TestDraining(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Writers: 3, Store: cluster.File, Env: cluster.PatientOwners()})
	samsa := commandLine(t, c)
	patient := cluster.Client(t, c)
	strict := cluster.Client(t, c, client.WithRetry(client.Retry{Policy: client.RetryNone}))
	streams := make([]*rolling, 6)
	for i := range streams {
		bucket := fmt.Sprintf("draining-%d", i)
		s := newStream(t, patient, bucket)
		streams[i] = &rolling{read: s, write: s}
		if !inSession(i) {
			streams[i].write = strict.Bucket(bucket).Stream("s")
		}
	}
	ctx, stop := within(t), make(chan struct{})
	var group sync.WaitGroup
	for i, s := range streams {
		group.Go(func() { s.appendUntil(ctx, inSession(i), func() bool { return isClosed(stop) }) })
	}
	for i := range 3 {
		drainAndUndo(t, c, samsa, fmt.Sprintf("stream-writer-%d", i))
	}
	close(stop)
	group.Wait()
	for i, s := range streams {
		require.NoError(t, s.err)
		t.Logf("stream %d: %d lines, the longest time between two acks: %s", i, len(s.lines), s.gaps.longest.Round(time.Millisecond))
		requireLines(t, s.read, s.lines)
	}
	refusals(t, samsa)
}

func inSession(i int) bool { return i%2 == 0 }

func drainAndUndo(t *testing.T, c *cluster.Cluster, samsa cli, writer string) {
	begun := time.Now()
	require.Equal(t, "Writer "+writer+" is drained: it owns no shards\n", samsa.ok(t, "", "admin", "drain", writer))
	t.Logf("drained %s in %s", writer, time.Since(begun).Round(time.Millisecond))
	for _, w := range adminWriters(t, samsa) {
		require.Equal(t, w.Instance == writer, w.Drained, w.Instance)
	}
	for _, s := range adminShards(t, samsa) {
		require.Equal(t, "owned", s.State, "shard %d", s.Shard)
		require.NotEqual(t, writer, s.Owner, "shard %d", s.Shard)
	}
	require.Equal(t, "Writer "+writer+" takes shards again\n", samsa.ok(t, "", "admin", "drain", writer, "--undo"))
	c.AwaitSpread(t)
	t.Logf("the spread:\n%s", samsa.ok(t, "", "admin", "writers"))
}

// refusals: a writer that is not there, and the last one that takes shards.
func refusals(t *testing.T, samsa cli) {
	o := samsa.run(t, "", "admin", "drain", "nobody")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, `no stream-writer "nobody" is registered; there are: stream-writer-0, stream-writer-1, stream-writer-2`)
	samsa.ok(t, "", "admin", "drain", "stream-writer-0")
	samsa.ok(t, "", "admin", "drain", "stream-writer-1")
	o = samsa.run(t, "", "admin", "drain", "stream-writer-2")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "no other stream-writer would take the shards of stream-writer-2")
	for _, s := range adminShards(t, samsa) {
		require.Equal(t, "stream-writer-2", s.Owner)
	}
}

type shardRow struct {
	Shard uint32
	Owner string
	State string
}

type writerRow struct {
	Instance string
	Drained  bool
}

func adminShards(t *testing.T, samsa cli) []shardRow {
	return jsonLines[shardRow](t, samsa.ok(t, "", "admin", "shards", "--format", "json"))
}

func adminWriters(t *testing.T, samsa cli) []writerRow {
	return jsonLines[writerRow](t, samsa.ok(t, "", "admin", "writers", "--format", "json"))
}

func jsonLines[T any](t *testing.T, text string) (rows []T) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		var row T
		require.NoError(t, json.Unmarshal(lines.Bytes(), &row))
		rows = append(rows, row)
	}
	return rows
}
