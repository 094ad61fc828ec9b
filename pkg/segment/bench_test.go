package segment

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/samsa-io/samsa/pkg/stream"
)

// content makes record bodies.
type content struct {
	name string
	fill func(rng *rand.Rand, body []byte)
}

func contents() []content {
	words := []string{"level=info", "level=warn", "msg=\"request served\"", "path=/api/v1/buckets", "status=200", "status=404", "bytes="}
	return []content{
		{"random", func(rng *rand.Rand, body []byte) {
			for i := range body {
				body[i] = byte(rng.Uint32())
			}
		}},
		{"log-lines", func(rng *rand.Rand, body []byte) {
			for n := 0; n < len(body); {
				n += copy(body[n:], fmt.Sprintf("%s %d ", words[rng.IntN(len(words))], rng.IntN(100_000)))
			}
		}},
	}
}

// benchSegment is streams × batches × records of that many bytes.
func benchSegment(streams, batches, records, bytes int, c content) *Segment {
	rng := rand.New(rand.NewPCG(1, 2))
	s := &Segment{Header: Header{Log: stream.Incarnation{1}, Slot: 7, Window: 8}}
	ids := make([]stream.ID, streams)
	for i := range ids {
		binary.BigEndian.PutUint64(ids[i][:], rng.Uint64())
		binary.BigEndian.PutUint64(ids[i][8:], rng.Uint64())
	}
	body := make([]byte, bytes)
	for k := range batches {
		for i := range ids {
			b := Batch{Shard: stream.Shard(i % 64), Stream: ids[i], First: stream.SeqNum(1_000_000 + k*records), IDMillis: 1_790_000_000_000}
			for range records {
				c.fill(rng, body)
				b.Payload = AppendRecord(b.Payload, nil, body)
				b.Timestamps = append(b.Timestamps, b.IDMillis)
			}
			s.Batches = append(s.Batches, b)
		}
	}
	return s
}

func payloadBytes(s *Segment) (n int64) {
	for i := range s.Batches {
		n += int64(len(s.Batches[i].Payload))
	}
	return n
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range contents() {
		for _, shape := range []struct {
			name                           string
			streams, batches, record, size int
		}{
			{"1-stream-1KiB", 1, 32, 128, 1024},
			{"1-stream-lockstep-1KiB", 1, 4096, 1, 1024},
			{"20000-streams-100B", 20_000, 1, 1, 100},
		} {
			b.Run(shape.name+"/"+c.name, func(b *testing.B) {
				s := benchSegment(shape.streams, shape.batches, shape.record, shape.size, c)
				b.SetBytes(payloadBytes(s))
				b.ReportAllocs()
				var size int
				for b.Loop() {
					s.plan = nil
					size = len(s.Encode())
				}
				b.ReportMetric(float64(size), "object-bytes")
			})
		}
	}
}

func BenchmarkDecodeFooter(b *testing.B) {
	for _, streams := range []int{1, 20_000} {
		b.Run(fmt.Sprintf("%d-streams", streams), func(b *testing.B) {
			object := benchSegment(streams, 1, 1, 100, contents()[0]).Encode()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeFooter(object); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(streams), "ns/stream")
		})
	}
}

func BenchmarkDecodeBlock(b *testing.B) {
	for _, c := range contents() {
		for _, size := range []int{100, 1024} {
			b.Run(fmt.Sprintf("%dB/%s", size, c.name), func(b *testing.B) {
				s := benchSegment(1, 1, 240<<10/size, size, c)
				object := s.Encode()
				sum := s.Sections()[0].Streams[0]
				ref := sum.Blocks[0]
				stored := object[ref.Offset:][:ref.Stored]
				b.SetBytes(int64(ref.Raw))
				b.ReportAllocs()
				for b.Loop() {
					block, err := DecodeBlock(sum.Stream, ref, stored)
					if err != nil {
						b.Fatal(err)
					}
					n := 0
					for r := range block.All() {
						n += len(r.Body)
					}
					if n != size*block.Len() {
						b.Fatal(n)
					}
				}
			})
		}
	}
}
