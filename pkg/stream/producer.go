package stream

import (
	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// ProducerHash stands for a producer id where ids would take too much room. It is
// part of the state's format.
func ProducerHash(id string) uint64 { return xxhash.Sum64String(id) }

// ProducerTime is the Unix millisecond that a producer id carries, if it is a UUIDv7
// in its usual form of 36 characters.
func ProducerTime(id string) (millis uint64, ok bool) {
	if len(id) != 36 {
		return 0, false
	}
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 {
		return 0, false
	}
	millis = SeqID(u).Millis()
	return millis, millis > 0
}
