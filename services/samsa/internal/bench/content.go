package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/samsa-io/samsa/pkg/client"
)

// minRecordBytes hold the writer (4 bytes), the stream (4) and the record's
// number among those of that writer in that stream (8).
const minRecordBytes = 16

// fill writes record n of a writer into body: who and what, then bytes that
// follow from it.
func fill(body []byte, writer, stream uint32, n uint64) {
	binary.BigEndian.PutUint32(body, writer)
	binary.BigEndian.PutUint32(body[4:], stream)
	binary.BigEndian.PutUint64(body[8:], n)
	state := uint64(writer)<<32 ^ uint64(stream)<<16 ^ n*0x9e3779b97f4a7c15 ^ 0x2545f4914f6cdd1d
	rest := body[minRecordBytes:]
	for len(rest) > 0 {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		if len(rest) < 8 {
			for i := range rest {
				rest[i] = byte(state >> (8 * i))
			}
			return
		}
		binary.LittleEndian.PutUint64(rest, state)
		rest = rest[8:]
	}
}

// checker sees that a stream's records are those that were written, each once
// and in its writer's order.
type checker struct {
	stream uint32
	size   int
	next   map[uint32]uint64
	want   []byte
	count  uint64
}

func newChecker(stream uint32, size int) *checker {
	return &checker{stream: stream, size: size, next: map[uint32]uint64{}, want: make([]byte, size)}
}

func (c *checker) check(r client.Record) error {
	if len(r.Body) != c.size {
		return fmt.Errorf("stream %d, record %d has %d bytes, not %d", c.stream, r.SeqNum, len(r.Body), c.size)
	}
	writer, n := binary.BigEndian.Uint32(r.Body), binary.BigEndian.Uint64(r.Body[8:])
	if expected := c.next[writer]; n != expected {
		return fmt.Errorf("stream %d, record %d is number %d of writer %d, where %d is next: %s",
			c.stream, r.SeqNum, n, writer, expected, map[bool]string{true: "records are lost", false: "a record is repeated"}[n > expected])
	}
	fill(c.want, writer, c.stream, n)
	if !bytes.Equal(c.want, r.Body) {
		return fmt.Errorf("stream %d, record %d: the content differs from what was appended", c.stream, r.SeqNum)
	}
	c.next[writer] = n + 1
	c.count++
	return nil
}
