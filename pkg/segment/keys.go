package segment

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/samsa-io/samsa/pkg/stream"
)

// SlotKey names the object that stands, or may stand, in a slot of a log.
func SlotKey(log stream.Incarnation, slot stream.Slot) string {
	return fmt.Sprintf("log/%s/%020d", log, slot)
}

// GoneKey names the mark that is put before a log's first object is deleted.
func GoneKey(log stream.Incarnation) string { return fmt.Sprintf("log/%s/gone", log) }

// ParseLogKey splits a key below LogPrefix into its log and the name within that;
// false: it is no log's.
func ParseLogKey(key string) (log stream.Incarnation, name string, ok bool) {
	id, name, ok := strings.Cut(strings.TrimPrefix(key, LogPrefix), "/")
	raw, err := hex.DecodeString(id)
	if !ok || err != nil || len(raw) != len(log) {
		return log, "", false
	}
	return stream.Incarnation(raw), name, true
}

// ChainKey names a shard's chain entry of that epoch.
func ChainKey(shard stream.Shard, epoch stream.Epoch) string {
	return fmt.Sprintf("%s%020d", ChainPrefix(shard), epoch)
}

// ChainsPrefix begins the keys of all shards' chain entries, and no others.
const ChainsPrefix = "chain/"

// ChainPrefix begins the keys of a shard's chain entries, and no others.
func ChainPrefix(shard stream.Shard) string { return fmt.Sprintf("%s%05d/", ChainsPrefix, shard) }

// StateKey names a shard's state as of a slot of its part in that epoch.
func StateKey(shard stream.Shard, epoch stream.Epoch, slot stream.Slot) string {
	return fmt.Sprintf("%s%020d/%020d", StatePrefix(shard), epoch, slot)
}

// ParseStateKey is what a key says of the state under it; false: it is no state's.
func ParseStateKey(key string) (ref StateRef, ok bool) {
	_, err := fmt.Sscanf(key, StatesPrefix+"%05d/%020d/%020d", &ref.Shard, &ref.Epoch, &ref.Slot)
	return ref, err == nil && ref.Key() == key
}

// StatesPrefix begins the keys of all shards' states, and no others.
const StatesPrefix = "state/"

// StatePrefix begins the keys of a shard's states, and no others.
func StatePrefix(shard stream.Shard) string { return fmt.Sprintf("%s%05d/", StatesPrefix, shard) }

// ChunkPrefix begins the keys of all chunk objects, and no others.
const ChunkPrefix = "chunk/"

// ChunkKey names a chunk object.
func ChunkKey(id ChunkID) string { return fmt.Sprintf("%s%020d", ChunkPrefix, id) }

// ParseChunkKey is the id of the chunk object under a key; false: it is none's.
func ParseChunkKey(key string) (ChunkID, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(key, ChunkPrefix), 10, 64)
	return ChunkID(n), err == nil && key == ChunkKey(ChunkID(n))
}

// LogPrefix begins the keys of all logs' objects, and no others.
const LogPrefix = "log/"
