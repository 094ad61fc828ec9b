package stream

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSeqID_CarriesItsParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		millis := rapid.Uint64Max(1<<48-1).Draw(t, "millis")
		seq := SeqNum(rapid.Uint64Max(uint64(MaxSeqNum)).Draw(t, "seq"))
		salt := Salt(rapid.Uint32Max(maxSalt).Draw(t, "salt"))

		parsed, err := ParseSeqID(NewSeqID(millis, seq, salt).String())

		require.NoError(t, err)
		require.Equal(t, millis, parsed.Millis())
		require.Equal(t, seq, parsed.SeqNum())
		require.Equal(t, salt, parsed.Salt())
		require.EqualValues(t, 7, uuid.UUID(parsed).Version())
		require.Equal(t, uuid.RFC4122, uuid.UUID(parsed).Variant())
		require.Equal(t, uuid.UUID(parsed).String(), parsed.String())
	})
}

func TestSeqID_RisesAlongAStreamAsBytesAndAsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		salt := NewID().Salt()
		millis := rapid.Uint64Max(1<<47).Draw(t, "millis")
		seq := SeqNum(rapid.Uint64Max(1<<47).Draw(t, "seq"))
		before := NewSeqID(millis, seq, salt)

		after := NewSeqID(
			millis+rapid.Uint64Max(1000).Draw(t, "later"),
			seq+SeqNum(rapid.Uint64Range(1, 1<<40).Draw(t, "further")), salt)

		require.Negative(t, bytes.Compare(before[:], after[:]))
		require.Less(t, before.String(), after.String())
	})
}

func TestParseSeqID_RefusesWhatIsNoUUIDv7(t *testing.T) {
	for _, text := range []string{"", "x", uuid.NewString(), strings.Repeat("0", 36), "{" + uuid.NewString() + "}",
		"urn:uuid:" + uuid.NewString(), strings.Repeat("a", 10_000)} {
		_, err := ParseSeqID(text)
		require.Error(t, err, text)
		require.Less(t, len(err.Error()), 300)
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"abc": true, "a-b": true, "0-0": true, strings.Repeat("a", 63): true,
		"": false, "ab": false, "-ab": false, "ab-": false, "aBc": false, "a_b": false, "a.b": false,
		strings.Repeat("a", 64): false, "äbc": false,
	} {
		require.Equal(t, good, CheckBucketName(name) == nil, "bucket %q", name)
	}
	for name, good := range map[string]bool{
		"a": true, "a/b": true, "...": true, "/": true, "ä": true, "a b": true, strings.Repeat("s", 512): true,
		"": false, ".": false, "..": false, "a\x00b": false, "\xff": false, strings.Repeat("s", 513): false,
	} {
		require.Equal(t, good, CheckStreamName(name) == nil, "stream %q", name)
	}
	for id, good := range map[string]bool{"a": true, strings.Repeat("i", 96): true, "": false, strings.Repeat("i", 97): false, "\x00": false} {
		require.Equal(t, good, CheckAccessTokenID(id) == nil, "access token %q", id)
	}
}

// The shard of a name must never change: routing and stored data depend on it.
func TestName_ShardIsFixed(t *testing.T) {
	require.Equal(t, Shard(5), Name{"my-bucket", "my-stream"}.Shard(64))
	require.NotEqual(t, Name{"abc", "d"}.Shard(1<<30), Name{"abcd", ""}.Shard(1<<30))
}
