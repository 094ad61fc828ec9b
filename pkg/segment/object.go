package segment

import (
	"encoding/binary"
	"math"
)

// Version is the format version that this package writes, and the only one that
// it reads.
const Version byte = 1

// Kind says what an object holds.
type Kind uint8

// The kinds of objects.
const (
	KindSegment    Kind = 1
	KindSeal       Kind = 2
	KindChainEntry Kind = 3
	KindState      Kind = 4
	KindCluster    Kind = 5
	KindGone       Kind = 6
	KindChunks     Kind = 7
)

func (k Kind) String() string {
	switch k {
	case KindSegment:
		return "segment"
	case KindSeal:
		return "seal"
	case KindChainEntry:
		return "chain entry"
	case KindState:
		return "state"
	case KindCluster:
		return "cluster object"
	case KindGone:
		return "gone mark"
	case KindChunks:
		return "chunk object"
	}
	return "object of an unknown kind"
}

const (
	magic        = "SMSA"
	prefixSize   = 8 // magic, version, kind, two zeros: the first bytes of every object
	envelopeSize = prefixSize + 4 + 4
)

func appendPrefix(dst []byte, kind Kind) []byte {
	dst = append(dst, magic...)
	return append(dst, Version, byte(kind), 0, 0)
}

// checkPrefix wants the checksum over b to have been checked.
func checkPrefix(b []byte, kind Kind) error {
	switch {
	case string(b[:4]) != magic:
		return corruptf("%s: begins with %q, not %q", kind, b[:4], magic)
	case b[4] != Version:
		return &VersionError{What: "a " + Kind(b[5]).String(), Version: b[4]}
	case Kind(b[5]) != kind:
		return &KindError{Want: kind, Got: Kind(b[5])}
	case b[6] != 0 || b[7] != 0:
		return corruptf("%s: reserved bytes are set", kind)
	}
	return nil
}

// EncodeEnvelope makes a control object of a payload. See the package
// documentation for its bytes.
func EncodeEnvelope(kind Kind, payload []byte) []byte {
	dst := make([]byte, 0, envelopeSize+len(payload))
	dst = append(openEnvelope(dst, kind), payload...)
	return closeEnvelope(dst)
}

// openEnvelope begins an envelope whose payload is appended directly.
func openEnvelope(dst []byte, kind Kind) []byte {
	return append(appendPrefix(dst, kind), 0, 0, 0, 0)
}

func closeEnvelope(dst []byte) []byte {
	n := len(dst) - prefixSize - 4
	if n > math.MaxUint32 {
		panic("segment: a control object exceeds 4 GiB")
	}
	binary.LittleEndian.PutUint32(dst[prefixSize:], uint32(n))
	return binary.LittleEndian.AppendUint32(dst, checksum(dst))
}

// DecodeEnvelope gives the payload of a control object of that kind; it aliases
// object.
func DecodeEnvelope(kind Kind, object []byte) ([]byte, error) {
	if len(object) < envelopeSize {
		return nil, corruptf("%s: has %d bytes, fewer than any", kind, len(object))
	}
	end := len(object) - 4
	if checksum(object[:end]) != binary.LittleEndian.Uint32(object[end:]) {
		return nil, corruptf("%s: wrong checksum", kind)
	}
	if err := checkPrefix(object, kind); err != nil {
		return nil, err
	}
	payload := object[prefixSize+4 : end]
	if n := binary.LittleEndian.Uint32(object[prefixSize:]); uint64(n) != uint64(len(payload)) {
		return nil, corruptf("%s: payload of %d bytes, %d declared", kind, len(payload), n)
	}
	return payload, nil
}
