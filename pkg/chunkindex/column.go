package chunkindex

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// How our types stand in columns. Positions, slots and ids stay far below 2^63;
// timestamps are clients' and may not.

func timeColumn(t uint64) int64 { return int64(t ^ 1<<63) }

func columnTime(c int64) uint64 { return uint64(c) ^ 1<<63 }

func uuidColumn[T ~[16]byte](id T) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

// uuidOrNull is NULL for the zero id.
func uuidOrNull[T ~[16]byte](id T) pgtype.UUID {
	return pgtype.UUID{Bytes: id, Valid: id != T{}}
}

func uuids[T ~[16]byte](ids []T) []pgtype.UUID {
	out := make([]pgtype.UUID, len(ids))
	for i := range ids {
		out[i] = uuidColumn(ids[i])
	}
	return out
}

func numbers[T ~uint64](list []T) []int64 {
	out := make([]int64, len(list))
	for i := range list {
		out[i] = int64(list[i])
	}
	return out
}

func chunkIDs(list []int64) []segment.ChunkID {
	var out []segment.ChunkID
	for _, n := range list {
		out = append(out, segment.ChunkID(n))
	}
	return out
}

// spanColumns is spans for unnest.
func spanColumns(spans []Span) (ids []pgtype.UUID, first, next []int64) {
	for _, s := range spans {
		ids = append(ids, uuidColumn(s.Stream))
		first, next = append(first, int64(s.First)), append(next, int64(s.Next))
	}
	return ids, first, next
}

const chunkColumns = `c.stream_id, c.first_seq, c.next_seq, c.first_timestamp, c.last_timestamp,
	c.object, c.offset_bytes, c.stored_bytes, c.raw_bytes, c.codec, c.checksum`

func scanChunk(row pgx.CollectableRow) (Chunk, error) {
	var id pgtype.UUID
	var first, next, firstTime, lastTime, object, offset, stored, raw, checksum int64
	var codec int16
	err := row.Scan(&id, &first, &next, &firstTime, &lastTime, &object, &offset, &stored, &raw, &codec, &checksum)
	return Chunk{
		Stream: stream.ID(id.Bytes), Object: segment.ChunkID(object),
		BlockRef: segment.BlockRef{
			Offset: uint64(offset), Stored: uint32(stored), Raw: uint32(raw), Codec: segment.Codec(codec), Checksum: uint32(checksum),
			First: stream.SeqNum(first), Count: uint32(next - first), FirstTimestamp: columnTime(firstTime), LastTimestamp: columnTime(lastTime),
		},
	}, err
}

// chunkArrays is chunks for unnest, in the order of chunkColumns.
func chunkArrays(chunks []Chunk) []any {
	ids := make([]pgtype.UUID, len(chunks))
	codecs := make([]int16, len(chunks))
	columns := make([][]int64, 9)
	for i := range columns {
		columns[i] = make([]int64, len(chunks))
	}
	for i := range chunks {
		c := &chunks[i]
		ids[i], codecs[i] = uuidColumn(c.Stream), int16(c.Codec)
		for j, v := range [...]int64{
			int64(c.First), int64(c.Next()), timeColumn(c.FirstTimestamp), timeColumn(c.LastTimestamp),
			int64(c.Object), int64(c.Offset), int64(c.Stored), int64(c.Raw), int64(c.Checksum),
		} {
			columns[j][i] = v
		}
	}
	return []any{ids, columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6], columns[7], codecs, columns[8]}
}

const unnestChunks = `unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
	$7::bigint[], $8::bigint[], $9::bigint[], $10::smallint[], $11::bigint[])
	AS c(stream_id, first_seq, next_seq, first_timestamp, last_timestamp, object, offset_bytes, stored_bytes, raw_bytes, codec, checksum)`
