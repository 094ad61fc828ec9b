package shardlog

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/stream"
)

var nameOfS = stream.Name{Bucket: "bucket", Stream: "s"}

func (s *script) tombstone(tag any, id stream.ID) { s.step(Tombstone{Tag: tag, Name: nameOfS, ID: id}) }

// configure asks for a retention, which tells configurations apart.
func (s *script) configure(tag any, id stream.ID, version, retention uint64) {
	config := stream.DefaultConfig()
	config.RetentionSeconds = retention
	s.step(Configure{Tag: tag, Name: nameOfS, ID: id, Config: config, ConfigVersion: version})
}

// A catalog that was put back has made a stream anew which lives on in the log.
func TestTombstone_OfAnotherStreamThanTheLogHasIsRefused(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.append("a", "s", nil)
	s.acked("a")
	s.tombstone("other", stream.ID{9})
	require.ErrorIs(t, s.refused("other"), ErrCatalogBehind)
	s.append("b", "s", nil)
	require.EqualValues(t, 1, s.acked("b").First, "it lives, and nobody was told otherwise")
}

func TestTombstone_OfAStreamThatHasEndedIsRepeatedAfterItsNameWasGivenAway(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	first := s.row("s")
	s.append("a", "s", nil)
	s.tombstone("end", first.ID)
	require.NoError(t, s.replies["end"].Err)
	second := first
	second.ID = stream.ID{2}
	s.rows["s"] = second
	s.append("b", "s", nil)
	require.Equal(t, second.ID, s.acked("b").Stream)

	s.tombstone("late", first.ID)
	require.NoError(t, s.replies["late"].Err)
	s.configure("late word", first.ID, 2, 7)
	require.NoError(t, s.replies["late word"].Err)
	s.append("c", "s", nil)
	require.Equal(t, second.ID, s.acked("c").Stream)
}

// A tombstone that is on its way counts.
func TestTombstone_OfTheNextStreamOfANameFollowsAtOnce(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.append("a", "s", nil)
	s.hold = isPut("log/")
	s.append("b", "s", nil)
	s.tombstone("end", s.row("s").ID)
	s.tombstone("next", stream.ID{2})
	s.release()
	require.NoError(t, s.replies["end"].Err)
	require.NoError(t, s.replies["next"].Err)
}

// Of a stream without an entry the catalog alone knows.
func TestTombstone_EndsWhatTheCatalogHasMadeOfANameThatNoEntryTellsOf(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.step(Inspect{Tag: "look", Name: nameOfS})
	require.NoError(t, s.replies["look"].Err)
	second := s.row("s")
	second.ID = stream.ID{2}
	s.rows["s"] = second
	s.tombstone("end", second.ID)
	require.NoError(t, s.replies["end"].Err)
	s.append("a", "s", nil)
	require.ErrorIs(t, s.refused("a"), ErrDeleting)
}

func TestConfigure_WhatIsBehindTheLogIsRefused(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	id := s.row("s").ID
	s.append("a", "s", nil)
	s.configure("third", id, 3, 30)
	s.configure("again", id, 3, 30)
	for _, tag := range []string{"third", "again"} {
		require.NoError(t, s.replies[tag].Err)
	}
	s.configure("lower", id, 2, 20)
	s.configure("equal", id, 3, 31)
	s.configure("other", stream.ID{9}, 1, 10)
	for _, tag := range []string{"lower", "equal", "other"} {
		require.ErrorIs(t, s.refused(tag), ErrCatalogBehind, tag)
	}
	s.configure("next", id, 4, 40)
	require.NoError(t, s.replies["next"].Err)
	s.step(Inspect{Tag: "look", Name: nameOfS})
	require.EqualValues(t, 40, s.replies["look"].View.Config.RetentionSeconds)
}
