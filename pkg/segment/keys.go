package segment

import (
	"fmt"

	"github.com/samsa-io/samsa/pkg/stream"
)

// SlotKey names the object that stands, or may stand, in a slot of a log.
func SlotKey(log stream.Incarnation, slot stream.Slot) string {
	return fmt.Sprintf("log/%s/%020d", log, slot)
}

// GoneKey names the mark that is put before a log's first object is deleted.
func GoneKey(log stream.Incarnation) string { return fmt.Sprintf("log/%s/gone", log) }

// ChainKey names a shard's chain entry of that epoch.
func ChainKey(shard stream.Shard, epoch stream.Epoch) string {
	return fmt.Sprintf("%s%020d", ChainPrefix(shard), epoch)
}

// ChainPrefix begins the keys of a shard's chain entries, and no others.
func ChainPrefix(shard stream.Shard) string { return fmt.Sprintf("chain/%05d/", shard) }

// StateKey names a shard's state as of a slot of its part in that epoch.
func StateKey(shard stream.Shard, epoch stream.Epoch, slot stream.Slot) string {
	return fmt.Sprintf("%s%020d/%020d", StatePrefix(shard), epoch, slot)
}

// StatePrefix begins the keys of a shard's states, and no others.
func StatePrefix(shard stream.Shard) string { return fmt.Sprintf("state/%05d/", shard) }

// ChunkPrefix begins the keys of all chunk objects, and no others.
const ChunkPrefix = "chunk/"

// ChunkKey names a chunk object.
func ChunkKey(id ChunkID) string { return fmt.Sprintf("%s%020d", ChunkPrefix, id) }

// LogPrefix begins the keys of all logs' objects, and no others.
const LogPrefix = "log/"
