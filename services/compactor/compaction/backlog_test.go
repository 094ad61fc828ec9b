package compaction

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/stream"
)

func TestBacklog_SumsWhatWasFoundAndForgetsWhatIsDone(t *testing.T) {
	now := time.Now()
	open, sealed := stream.NewIncarnation(), stream.NewIncarnation()
	var b backlog
	b.note(window{log: open, from: 3, to: 5, bytes: 10, oldest: now.Add(-time.Minute)})
	b.note(window{log: sealed, from: 0, to: 4, sealed: true, end: 100, bytes: 20, oldest: now.Add(-time.Hour)})
	slots, bytes, age := b.total(now)
	require.Equal(t, stream.Slot(2+100), slots, "all up to the seal counts")
	require.Equal(t, int64(30), bytes)
	require.Equal(t, time.Hour, age)

	b.keep([]chunkindex.Log{{Log: open}})
	slots, _, age = b.total(now)
	require.Equal(t, stream.Slot(2), slots)
	require.Equal(t, time.Minute, age)

	b.note(window{log: open, from: 5, to: 5})
	slots, bytes, age = b.total(now)
	require.Zero(t, slots)
	require.Zero(t, bytes)
	require.Zero(t, age)
}
