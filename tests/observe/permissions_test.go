package observe

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"

	"github.com/samsa-io/samsa/tests/cluster"
)

// TestPermissions_AreThoseOfTheGuide has every role do all that it does to the object
// store: takeovers, compaction, collection, making the index again. The table of
// permissions in deploy/README.md must be what was needed: no less, and no more.
func TestPermissions_AreThoseOfTheGuide(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Writers: 2, Compactors: 1, Links: true, Env: []string{
		"SAMSA_STORAGE_ROLL_INTERVAL_SECS=2",
		"SAMSA_STORAGE_CLEANUP_INTERVAL_SECS=1",
		"SAMSA_STORAGE_CLEANUP_GRACE_PERIOD_SECS=1",
		"SAMSA_STREAM_WRITER_STATE_SLOTS=4",
		"SAMSA_STREAM_WRITER_INLINE_BYTES=0", // live readers fetch
		"SAMSA_COMPACTOR_INTERVAL_MS=100",
		"SAMSA_COMPACTOR_LIVE_AGE_SECS=0",
		"SAMSA_COMPACTOR_LIVE_BYTES=0",
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	w := &storeWork{c: c, client: cluster.Client(t, c)}
	_, err := w.client.CreateBucket(ctx, "permissions", client.BucketConfig{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)

	for round := range 4 {
		w.round(ctx, t, round)
	}
	cluster.EmptyIndex(t, c.PostgresURL()) // which has the compactor make it again
	granted := grantedByGuide(t)
	for round := 4; !w.settles(t, granted); round++ { // who does what depends on who is quick
		require.NoErrorf(t, ctx.Err(), "nobody needed %v", without(granted, w.needed(t)))
		w.round(ctx, t, round)
	}
	require.Empty(t, without(w.needed(t), granted), "the guide does not grant this")
}

// storeWork is what makes all roles use the object store.
type storeWork struct {
	c      *cluster.Cluster
	client *client.Client
}

// round appends and kills a writer, reads what then stands in segments alone, and
// what has been compacted since; of two rounds ago it deletes every other stream.
func (w *storeWork) round(ctx context.Context, t *testing.T, round int) {
	t.Helper()
	w.c.Pause(t, "compactor-0")
	for i := range streamsPerRound {
		s := w.stream(round, i)
		for n := range 5 {
			_, err := s.Append(ctx, client.AppendInput{Records: []client.AppendRecord{{Body: fmt.Append(nil, n)}}})
			require.NoError(t, err)
		}
	}
	w.kill(t, fmt.Sprintf("stream-writer-%d", round%2))
	w.read(ctx, t, round, 1)
	w.c.Resume(t, "compactor-0")
	if round > 0 {
		w.read(ctx, t, round-1, 1)
	}
	if round < 2 {
		return
	}
	for i := 0; i < streamsPerRound; i += 2 {
		require.NoError(t, w.client.Bucket("permissions").DeleteStream(ctx, streamName(round-2, i)))
	}
	w.read(ctx, t, round-2, 2)
}

const streamsPerRound = 8

func streamName(round, i int) string { return fmt.Sprintf("%d-%d", round, i) }

func (w *storeWork) stream(round, i int) *client.Stream {
	return w.client.Bucket("permissions").Stream(streamName(round, i))
}

// read reads the round's streams, or every other one.
func (w *storeWork) read(ctx context.Context, t *testing.T, round, step int) {
	t.Helper()
	for i := step - 1; i < streamsPerRound; i += step {
		session := w.stream(round, i).ReadSession(ctx, client.Read{Start: client.FromSeqNum(0)}, client.StopAtTail())
		for _, err := range session.Records() {
			require.NoError(t, err)
		}
	}
}

// kill has the other writer take over, before this one starts again.
func (w *storeWork) kill(t *testing.T, writer string) {
	t.Helper()
	w.c.Kill(t, writer)
	w.c.Restart(t, writer)
}

// settles leaves the compactor time to catch up, and says whether all that was granted
// has been needed.
func (w *storeWork) settles(t *testing.T, granted map[string][]cluster.StorePermission) bool {
	t.Helper()
	for deadline := time.Now().Add(patience / 4); time.Now().Before(deadline); time.Sleep(time.Second) {
		if len(without(granted, w.needed(t))) == 0 {
			return true
		}
	}
	return false
}

// needed is what each role has needed so far.
func (w *storeWork) needed(t *testing.T) map[string][]cluster.StorePermission {
	t.Helper()
	needed := map[string][]cluster.StorePermission{}
	for _, name := range w.c.Names() {
		role := name[:strings.LastIndex(name, "-")]
		for _, p := range w.c.StorePermissions(t, name) {
			first := p == cluster.StorePermission{Action: "PutObject", Prefix: "cluster"} // whoever is
			if !first && !slices.Contains(needed[role], p) {
				needed[role] = append(needed[role], p)
			}
		}
	}
	return needed
}

// without is what is in these and not in those.
func without(these, those map[string][]cluster.StorePermission) (all []string) {
	for role, permissions := range these {
		for _, p := range permissions {
			if !slices.Contains(those[role], p) {
				all = append(all, fmt.Sprintf("%s: %s %s", role, p.Action, p.Prefix))
			}
		}
	}
	return all
}

// grantedByGuide reads the table whose heads are the actions.
func grantedByGuide(t *testing.T) map[string][]cluster.StorePermission {
	t.Helper()
	guide, err := os.ReadFile("../../deploy/README.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(guide), "\n| role |")
	require.True(t, found, "the guide has no table of permissions")
	granted := map[string][]cluster.StorePermission{}
	var actions []string
	for line := range strings.Lines("| role |" + table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		switch role := strings.TrimSpace(cells[0]); role {
		case "":
			return granted
		case "role":
			actions = cells[1:]
		default:
			for i, cell := range cells[1:] {
				for _, prefix := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
					granted[role] = append(granted[role], cluster.StorePermission{Action: strings.TrimSpace(actions[i]), Prefix: prefix[1]})
				}
			}
		}
	}
	return granted
}
