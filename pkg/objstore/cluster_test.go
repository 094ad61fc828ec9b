package objstore

import (
	"context"
	"encoding/hex"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestOpenCluster_RefusesAnotherShardCount(t *testing.T) {
	store := NewMem()
	cluster, err := OpenCluster(t.Context(), store, 64)
	require.NoError(t, err)
	require.NotZero(t, cluster.ID)
	require.EqualValues(t, 64, cluster.Shards)
	_, err = OpenCluster(t.Context(), store, 32)
	require.ErrorContains(t, err, `object "cluster"`)
	require.ErrorContains(t, err, "64 shards, storage.shard_count = 32")
	require.ErrorContains(t, err, "set storage.shard_count = 64")
	_, err = OpenCluster(t.Context(), store, 0)
	require.ErrorContains(t, err, "storage.shard_count = 0")
}

func TestOpenCluster_RefusesANewerFormat(t *testing.T) {
	store := NewMem()
	newer := Cluster{ID: uuid.New(), Shards: 64, FormatVersion: FormatVersion + 1}.encode()
	newer = append(newer[:clusterChecksum], "what later versions add"...)
	newer = append(newer, le32(castagnoli(newer))...)
	require.NoError(t, store.PutIfAbsent(t.Context(), ClusterKey, newer))
	_, err := OpenCluster(t.Context(), store, 64)
	require.ErrorContains(t, err, "format version 2, this program knows versions up to 1: run a release")
}

func le32(n uint32) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)} }

func TestOpenCluster_RefusesWhatIsNone(t *testing.T) {
	good := Cluster{ID: uuid.New(), Shards: 64, FormatVersion: FormatVersion}.encode()
	for i := range good {
		flipped := append([]byte{}, good...)
		flipped[i] ^= 1
		requireNoCluster(t, flipped)
		requireNoCluster(t, good[:i])
	}
	requireNoCluster(t, append(good, 0))
	requireNoCluster(t, []byte("<html>a page that somebody put there, longer than a cluster object</html>"))
}

func requireNoCluster(t *testing.T, body []byte) {
	t.Helper()
	store := NewMem()
	require.NoError(t, store.PutIfAbsent(t.Context(), ClusterKey, body))
	_, err := OpenCluster(t.Context(), store, 64)
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrNotFound)
}

func TestCluster_GoldenBytes(t *testing.T) {
	cluster := Cluster{ID: uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff"), Shards: 64, FormatVersion: 1}
	const golden = "53414d5341434c55" + "0100" + "00112233445566778899aabbccddeeff" + "40000000" + "8a76ab7f"
	require.Equal(t, golden, hex.EncodeToString(cluster.encode()))
	decoded, err := decodeCluster(cluster.encode())
	require.NoError(t, err)
	require.Equal(t, cluster, decoded)
}

// lostReply loses the reply to the first put.
type lostReply struct {
	*Mem
	puts int
}

func (l *lostReply) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	err := l.Mem.PutIfAbsent(ctx, key, body)
	if l.puts++; l.puts == 1 {
		return context.DeadlineExceeded
	}
	return err
}

func TestOpenCluster_MayBeRepeatedAfterALostReply(t *testing.T) {
	store := &lostReply{Mem: NewMem()}
	_, err := OpenCluster(t.Context(), store, 64)
	require.Error(t, err)
	first, err := OpenCluster(t.Context(), store, 64)
	require.NoError(t, err)
	second, err := OpenCluster(t.Context(), store, 64)
	require.NoError(t, err)
	require.Equal(t, first, second)
}
