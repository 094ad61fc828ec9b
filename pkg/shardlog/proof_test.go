package shardlog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/stream"
)

func TestProof_IsNoPutIssuedBeforeTheRequest(t *testing.T) {
	store := map[string][]byte{}
	fenced := newScript(t, 1, store)
	fenced.own()
	fenced.append("before", "s", nil)
	fenced.pass(time.Second)
	tail := fenced.acked("before").First + 1

	// A put lands whose answer is long in coming. Meanwhile the log is sealed behind it
	// and the next owner acknowledges more.
	landed := isPut("log/")
	fenced.hold = func(a Action) bool {
		if landed(a) {
			store[a.(Put).Key] = a.(Put).Body()
		}
		return landed(a)
	}
	fenced.append("landed", "s", nil)
	fenced.pass(2 * time.Millisecond)
	require.Len(t, fenced.held, 1)
	next := newScript(t, 2, store)
	next.own()
	next.append("after", "s", nil)
	next.pass(time.Second)
	require.Equal(t, tail+1, next.acked("after").First)

	name := stream.Name{Bucket: "bucket", Stream: "s"}
	fenced.step(Inspect{Tag: "tail", Name: name, Prove: true})
	wrong := tail + 7
	bad := record("refusal", "s", nil)
	bad.MatchSeqNum = &wrong
	fenced.step(bad)
	fenced.release()
	fenced.pass(time.Second)
	require.NoError(t, fenced.replies["landed"].Err, "it stands below the seal")
	require.ErrorIs(t, fenced.refused("tail"), ErrDied, "the tail that it knows is that of before")
	require.ErrorIs(t, fenced.refused("refusal"), ErrDied)
}
