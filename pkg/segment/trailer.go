package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/samsa-io/samsa/pkg/stream"
)

// TrailerSize is the length of what every object of a log ends with.
const TrailerSize = 64

// Header says where in which log an object stands.
type Header struct {
	Log    stream.Incarnation
	Slot   stream.Slot
	Window uint32 // W: slot p is put only when every slot ≤ p − W is resolved
}

// Trailer is the end of a log object: enough to tell what stands in the slot.
type Trailer struct {
	Header
	Kind           Kind // KindSegment or KindSeal
	FooterSize     uint32
	FooterChecksum uint32
	// Identity is the same for the same content and differs for any other that
	// a writer could have put: see the package documentation.
	Identity [16]byte
}

// appendTrailer ends an object whose footer begins at footer.
func appendTrailer(object []byte, footer int, h Header, kind Kind) []byte {
	size := len(object) - footer
	if uint64(size) > math.MaxUint32 {
		panic("segment: a footer exceeds 4 GiB")
	}
	start := len(object)
	sum := checksum(object[footer:])
	object = append(object, h.Log[:]...)
	object = binary.LittleEndian.AppendUint64(object, uint64(h.Slot))
	object = binary.LittleEndian.AppendUint32(object, h.Window)
	object = binary.LittleEndian.AppendUint32(object, uint32(size))
	object = binary.LittleEndian.AppendUint32(object, sum)
	id := identity(object[:start], object[start:])
	object = append(object, id[:]...)
	object = append(object, byte(kind), Version, 0, 0)
	object = append(object, magic...)
	return binary.LittleEndian.AppendUint32(object, checksum(object[start:]))
}

// identity hashes what stands before the trailer, and the trailer up to the
// identity itself.
func identity(body, trailer []byte) (id [16]byte) {
	var fields [8 + 36]byte
	binary.LittleEndian.PutUint64(fields[:], xxhash.Sum64(body))
	copy(fields[8:], trailer[:36])
	sum := sha256.Sum256(fields[:])
	copy(id[:], sum[:])
	return id
}

// DecodeTrailer reads the last 64 bytes of a log object; more may stand before
// them.
func DecodeTrailer(last []byte) (Trailer, error) {
	t, err := decodeTrailer(last)
	if err == nil && t.Kind == KindChunks {
		return Trailer{}, corruptf("log object: it is a %s", t.Kind)
	}
	return t, err
}

// decodeTrailer takes the trailer of a chunk object too.
func decodeTrailer(last []byte) (Trailer, error) {
	if len(last) < TrailerSize {
		return Trailer{}, corruptf("log object: %d bytes cannot hold a trailer", len(last))
	}
	b := last[len(last)-TrailerSize:]
	if checksum(b[:60]) != binary.LittleEndian.Uint32(b[60:]) {
		return Trailer{}, corruptf("log object: wrong trailer checksum")
	}
	kind := Kind(b[52])
	switch {
	case string(b[56:60]) != magic:
		return Trailer{}, corruptf("log object: trailer without %q", magic)
	case b[53] != Version:
		return Trailer{}, &VersionError{What: "a " + kind.String(), Version: b[53]}
	case kind != KindSegment && kind != KindSeal && kind != KindChunks:
		return Trailer{}, corruptf("log object: kind %d", kind)
	case b[54] != 0 || b[55] != 0:
		return Trailer{}, corruptf("log object: reserved bytes are set")
	}
	return Trailer{
		Header: Header{
			Log:    stream.Incarnation(b[:16]),
			Slot:   stream.Slot(binary.LittleEndian.Uint64(b[16:])),
			Window: binary.LittleEndian.Uint32(b[24:]),
		},
		Kind:           kind,
		FooterSize:     binary.LittleEndian.Uint32(b[28:]),
		FooterChecksum: binary.LittleEndian.Uint32(b[32:]),
		Identity:       [16]byte(b[36:52]),
	}, nil
}

// footerOf cuts the footer out of the end of an object.
func (t Trailer) footerOf(suffix []byte) ([]byte, error) {
	need := int64(t.FooterSize) + TrailerSize
	if int64(len(suffix)) < need {
		return nil, &NeedMore{Bytes: need}
	}
	end := len(suffix) - TrailerSize
	footer := suffix[end-int(t.FooterSize) : end]
	if checksum(footer) != t.FooterChecksum {
		return nil, corruptf("%s of slot %d: wrong footer checksum", t.Kind, t.Slot)
	}
	return footer, nil
}

// EncodeSeal makes the object that ends log h.Log at h.Slot, put there by
// another incarnation.
func EncodeSeal(h Header, by stream.Incarnation) []byte {
	object := make([]byte, 0, prefixSize+len(by)+TrailerSize)
	object = appendPrefix(object, KindSeal)
	object = append(object, by[:]...)
	return appendTrailer(object, prefixSize, h, KindSeal)
}

// DecodeSeal tells which log a seal ends, where, and who put it.
func DecodeSeal(object []byte) (Header, stream.Incarnation, error) {
	t, err := DecodeTrailer(object)
	if err != nil {
		return Header{}, stream.Incarnation{}, err
	}
	if t.Kind != KindSeal {
		return Header{}, stream.Incarnation{}, &KindError{Want: KindSeal, Got: t.Kind}
	}
	if err := t.checkWhole(object); err != nil {
		return Header{}, stream.Incarnation{}, err
	}
	if len(object) != prefixSize+16+TrailerSize {
		return Header{}, stream.Incarnation{}, corruptf("seal: has %d bytes", len(object))
	}
	return t.Header, stream.Incarnation(object[prefixSize:]), nil
}

// checkWhole checks every byte of an object against its trailer.
func (t Trailer) checkWhole(object []byte) error {
	body := object[:len(object)-TrailerSize]
	if len(body) < prefixSize || identity(body, object[len(body):]) != t.Identity {
		return corruptf("%s of slot %d: wrong identity", t.Kind, t.Slot)
	}
	if err := checkPrefix(body, t.Kind); err != nil {
		return err
	}
	_, err := t.footerOf(object)
	return err
}
