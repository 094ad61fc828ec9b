package chunkindex

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Find is up to limit chunks of a stream in order; the first one holds position from
// or is the first behind it.
func (d *DB) Find(ctx context.Context, id stream.ID, from stream.SeqNum, limit int) ([]Chunk, error) {
	return query(ctx, d, "find chunks", scanChunk, "SELECT "+chunkColumns+` FROM chunks c
		WHERE c.stream_id = $1 AND c.next_seq > $2 ORDER BY c.next_seq LIMIT $3`, uuidColumn(id), int64(from), limit)
}

// FindTimestamp is up to limit chunks of a stream in order; the first one has the
// first record of all chunks whose timestamp is at least t.
func (d *DB) FindTimestamp(ctx context.Context, id stream.ID, t uint64, limit int) ([]Chunk, error) {
	return query(ctx, d, "find chunks", scanChunk, "SELECT "+chunkColumns+` FROM chunks c
		WHERE c.stream_id = $1 AND c.last_timestamp >= $2 ORDER BY c.last_timestamp, c.next_seq LIMIT $3`, uuidColumn(id), timeColumn(t), limit)
}

// Tails is, for each span, the chunks that overlap it and up to TailChunks before
// it, by stream and position.
func (d *DB) Tails(ctx context.Context, spans []Span) ([]Chunk, error) {
	ids, first, next := spanColumns(spans)
	return query(ctx, d, "find the last chunks", scanChunk, "SELECT "+chunkColumns+`
		FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS w(stream_id, first_seq, next_seq), LATERAL (
			(SELECT * FROM chunks b WHERE b.stream_id = w.stream_id AND b.next_seq <= w.first_seq ORDER BY b.next_seq DESC LIMIT $4)
			UNION ALL
			(SELECT * FROM chunks o WHERE o.stream_id = w.stream_id AND o.next_seq > w.first_seq AND o.first_seq < w.next_seq)
		) c ORDER BY c.stream_id, c.next_seq`, ids, first, next, TailChunks)
}

// Still is those of the chunks that the index has, as they are given.
func (d *DB) Still(ctx context.Context, chunks []Chunk) ([]Chunk, error) {
	return query(ctx, d, "look chunks up", scanChunk, "SELECT "+chunkColumns+`
		FROM `+unnestChunks+` JOIN chunks have USING (stream_id, next_seq)
		WHERE have.object = c.object AND have.offset_bytes = c.offset_bytes ORDER BY c.stream_id, c.next_seq`, chunkArrays(chunks)...)
}

// Limits is what of the streams need not be kept; those that are kept whole may be
// missing.
func (d *DB) Limits(ctx context.Context, ids []stream.ID) (map[stream.ID]Limit, error) {
	type row struct {
		id    pgtype.UUID
		limit Limit
	}
	rows, err := query(ctx, d, "look limits up", func(r pgx.CollectableRow) (out row, err error) {
		var trim int64
		err = r.Scan(&out.id, &trim, &out.limit.Dead)
		out.limit.Trim = stream.SeqNum(trim)
		return out, err
	}, "SELECT stream_id, trim, tombstoned FROM stream_limits WHERE stream_id = ANY($1::uuid[]) AND (trim > 0 OR tombstoned)", uuids(ids))
	out := make(map[stream.ID]Limit, len(rows))
	for _, r := range rows {
		out[stream.ID(r.id.Bytes)] = r.limit
	}
	return out, err
}

// Cover tells which objects hold the records of the spans, as far as they have to be
// kept, and of which spans some are in no chunk.
func (d *DB) Cover(ctx context.Context, spans []Span) (objects []segment.ChunkID, missing []Span, err error) {
	ids, first, next := spanColumns(spans)
	const kept = `WITH kept AS (
		SELECT w.stream_id, GREATEST(w.first_seq, COALESCE(l.trim, 0)) AS first_seq, w.next_seq
		FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS w(stream_id, first_seq, next_seq)
		LEFT JOIN stream_limits l USING (stream_id)
		WHERE NOT COALESCE(l.tombstoned, false) AND w.next_seq > COALESCE(l.trim, 0)) `
	missing, err = query(ctx, d, "look for records without chunk", scanSpan, kept+`
		SELECT k.stream_id, k.first_seq, k.next_seq FROM kept k WHERE k.next_seq - k.first_seq > COALESCE((
			SELECT sum(LEAST(c.next_seq, k.next_seq) - GREATEST(c.first_seq, k.first_seq)) FROM chunks c
			WHERE c.stream_id = k.stream_id AND c.next_seq > k.first_seq AND c.first_seq < k.next_seq), 0)
		ORDER BY 1, 2`, ids, first, next)
	if err != nil {
		return nil, nil, err
	}
	numbers, err := query(ctx, d, "look for records' chunks", pgx.RowTo[int64], kept+`
		SELECT DISTINCT c.object FROM kept k JOIN chunks c
			ON c.stream_id = k.stream_id AND c.next_seq > k.first_seq AND c.first_seq < k.next_seq
		ORDER BY 1`, ids, first, next)
	return chunkIDs(numbers), missing, err
}

func scanSpan(row pgx.CollectableRow) (s Span, err error) {
	var id pgtype.UUID
	var first, next int64
	err = row.Scan(&id, &first, &next)
	return Span{Stream: stream.ID(id.Bytes), First: stream.SeqNum(first), Next: stream.SeqNum(next)}, err
}
