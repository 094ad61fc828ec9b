package shardlog

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/stream"
)

// vain asks for the end of "s" if it is empty, so many milliseconds from now.
func (s *script) vain(tag any, later uint64) {
	s.step(Tombstone{
		Tag: tag, Name: stream.Name{Bucket: "bucket", Stream: "s"}, ID: s.row("s").ID,
		IfEmpty: true, Now: uint64(s.now.UnixMilli()) + later,
	})
}

// ephemeral is a writer of a stream that is deleted when it was empty for a second.
func ephemeral(t *testing.T, store map[string][]byte) *script {
	s := newScript(t, 1, store)
	row := s.row("s")
	row.Config.DeleteOnEmptySeconds = 1
	s.rows["s"] = row
	s.own()
	return s
}

func (s *script) kept(tag any) *KeptError {
	kept := (*KeptError)(nil)
	require.ErrorAs(s.t, s.refused(tag), &kept)
	return kept
}

func (s *script) trimAll(tag any) {
	s.step(Trim{Tag: tag, Name: stream.Name{Bucket: "bucket", Stream: "s"}, ID: s.row("s").ID, Trim: 1 << 40})
}

func TestEmpty_StreamEndsOnlyWhenItHasBeenForLongEnough(t *testing.T) {
	s := ephemeral(t, map[string][]byte{})
	s.append("a", "s", nil)
	s.vain("too soon", 500)
	require.EqualValues(t, 500, s.kept("too soon").Millis)
	s.vain("not empty", 5000)
	s.kept("not empty")
	s.trimAll("trim")
	s.vain("still too soon", 500)
	s.kept("still too soon")
	s.vain("now", 1000)
	require.NoError(t, s.replies["now"].Err)
	s.append("b", "s", nil)
	require.ErrorIs(t, s.refused("b"), ErrDeleting)
	s.vain("again", 0)
	require.NoError(t, s.replies["again"].Err, "the answer can be had again")
}

func TestEmpty_StreamThatWasNeverUsedEnds(t *testing.T) {
	s := ephemeral(t, map[string][]byte{})
	s.vain("now", 0)
	require.NoError(t, s.replies["now"].Err)
	s.append("a", "s", nil)
	require.ErrorIs(t, s.refused("a"), ErrDeleting)
}

func TestEmpty_StreamKeepsWhatIsOnItsWay(t *testing.T) {
	s := ephemeral(t, map[string][]byte{})
	s.append("a", "s", nil)
	s.trimAll("trim")
	s.hold = isPut("log/")
	s.append("b", "s", nil)
	s.vain("late", 5000)
	s.kept("late")
	s.release()
	require.EqualValues(t, 1, s.acked("b").First)
}

func TestEmpty_StreamKeepsAnAppendThatWaitsForTheCatalog(t *testing.T) {
	s := ephemeral(t, map[string][]byte{})
	s.hold = func(a Action) bool { _, ok := a.(Lookup); return ok }
	s.append("a", "s", nil)
	s.vain("behind it", 5000)
	s.release()
	s.acked("a")
	s.kept("behind it")
}

func TestEmpty_IsWhatTheNewestConfigurationSays(t *testing.T) {
	s := ephemeral(t, map[string][]byte{})
	row := s.row("s")
	s.hold = func(a Action) bool { _, ok := a.(Lookup); return ok }
	s.vain("asked before", 5000)
	old := s.held[0].(Lookup)
	s.held = nil
	kept := row
	kept.Config.DeleteOnEmptySeconds, kept.ConfigVersion = 0, 2
	s.rows["s"] = kept
	s.step(Configure{Tag: "keep", Name: stream.Name{Bucket: "bucket", Stream: "s"}, ID: row.ID, Config: kept.Config, ConfigVersion: 2})
	require.NoError(t, s.replies["keep"].Err)
	s.step(LookupDone{Op: old.Op, Stream: row}) // from before
	s.release()
	s.kept("asked before")
	s.append("a", "s", nil)
	s.acked("a")
}
