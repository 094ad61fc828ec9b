package objstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/google/uuid"

	"github.com/samsa-io/samsa/pkg/clock"
)

// Cluster is what all programs on one store have to agree on. It stands in the
// object "cluster", put once.
type Cluster struct {
	ID            uuid.UUID
	Shards        uint32
	FormatVersion uint16 // of everything in the store
}

const (
	// ClusterKey is the cluster object's key.
	ClusterKey = "cluster"
	// FormatVersion is the newest one that this program reads, and the one that it
	// writes.
	FormatVersion = 1
)

// The cluster object, 34 bytes: "SAMSACLU", format version (uint16), id (16
// bytes), shards (uint32), CRC-32C of all before it (uint32); little-endian. A
// later version may put more between shards and checksum, and keeps the rest
// where it is, so that older programs can name it when they refuse it.
const (
	clusterMagic    = "SAMSACLU"
	clusterVersion  = len(clusterMagic)
	clusterID       = clusterVersion + 2
	clusterShards   = clusterID + 16
	clusterChecksum = clusterShards + 4 // in version 1
	clusterSize     = clusterChecksum + 4
)

// OpenCluster gives the store's cluster, and creates it if there is none. One
// with another shard count or a newer format is refused. It is safe to repeat
// after any error.
func OpenCluster(ctx context.Context, s Store, shards uint32) (Cluster, error) {
	if shards == 0 {
		return Cluster{}, errors.New("storage.shard_count = 0: give the number of shards, such as 64")
	}
	for attempt := 0; ; attempt++ {
		cluster, err := ReadCluster(ctx, s)
		if isNotFound(err) {
			cluster, err = createCluster(ctx, s, shards)
		}
		if err == nil {
			return cluster, cluster.check(shards)
		}
		if !errors.Is(err, ErrExists) && !errors.Is(err, ErrConflict) || attempt == 10 {
			return Cluster{}, err
		}
		if err := clock.Sleep(ctx, 20*time.Millisecond<<min(attempt, 5)); err != nil {
			return Cluster{}, err
		}
	}
}

// ReadCluster gives the store's cluster as it stands. ErrNotFound: there is none.
func ReadCluster(ctx context.Context, s Store) (Cluster, error) {
	object, err := s.Get(ctx, ClusterKey, Whole)
	if err != nil {
		return Cluster{}, err
	}
	cluster, err := decodeCluster(object.Body)
	return cluster, opError(OpGet, ClusterKey, err)
}

func createCluster(ctx context.Context, s Store, shards uint32) (Cluster, error) {
	cluster := Cluster{ID: uuid.New(), Shards: shards, FormatVersion: FormatVersion}
	return cluster, s.PutIfAbsent(ctx, ClusterKey, cluster.encode())
}

func (c Cluster) check(shards uint32) error {
	if c.FormatVersion > FormatVersion {
		return fmt.Errorf("object %q of the store: cluster %s has format version %d, this program knows versions up to %d: "+
			"run a release of Samsa that knows version %d", ClusterKey, c.ID, c.FormatVersion, FormatVersion, c.FormatVersion)
	}
	if c.Shards != shards {
		return fmt.Errorf("object %q of the store: cluster %s was made with %d shards, storage.shard_count = %d: "+
			"the count cannot change once it is made; set storage.shard_count = %d, or give storage.url another bucket or prefix",
			ClusterKey, c.ID, c.Shards, shards, c.Shards)
	}
	return nil
}

func (c Cluster) encode() []byte {
	b := make([]byte, 0, clusterSize)
	b = append(b, clusterMagic...)
	b = binary.LittleEndian.AppendUint16(b, c.FormatVersion)
	b = append(b, c.ID[:]...)
	b = binary.LittleEndian.AppendUint32(b, c.Shards)
	return binary.LittleEndian.AppendUint32(b, castagnoli(b))
}

func decodeCluster(b []byte) (Cluster, error) {
	if len(b) < clusterSize || string(b[:clusterVersion]) != clusterMagic {
		return Cluster{}, fmt.Errorf("%d bytes that are no cluster object: the bucket or prefix in storage.url is used for something else", len(b))
	}
	content, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if castagnoli(content) != sum {
		return Cluster{}, errors.New("the cluster object is damaged: its checksum does not match; restore it from a backup of the store")
	}
	cluster := Cluster{
		ID:            uuid.UUID(b[clusterID:clusterShards]),
		Shards:        binary.LittleEndian.Uint32(b[clusterShards:]),
		FormatVersion: binary.LittleEndian.Uint16(b[clusterVersion:]),
	}
	if cluster.FormatVersion <= FormatVersion && len(b) != clusterSize {
		return Cluster{}, fmt.Errorf("the cluster object has %d bytes, want %d", len(b), clusterSize)
	}
	return cluster, nil
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
