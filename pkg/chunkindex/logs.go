package chunkindex

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/samsa-io/samsa/pkg/failpoint"
	"github.com/samsa-io/samsa/pkg/stream"
)

const logColumns = "incarnation, watermark, sealed_end, gone_at IS NOT NULL"

func scanLog(row pgx.CollectableRow) (Log, error) {
	var id pgtype.UUID
	var watermark int64
	var end *int64
	var l Log
	err := row.Scan(&id, &watermark, &end, &l.Gone)
	l.Log, l.Watermark = stream.Incarnation(id.Bytes), stream.Slot(watermark)
	if end != nil {
		l.Sealed, l.End = true, stream.Slot(*end)
	}
	return l, err
}

// Logs is every log of which something may be left to do, by incarnation.
func (d *DB) Logs(ctx context.Context) ([]Log, error) {
	return query(ctx, d, "list logs", scanLog,
		"SELECT "+logColumns+" FROM compacted_logs WHERE collected_at IS NULL ORDER BY incarnation")
}

// Drained is the logs that have been in chunks for at least age and whose slots are
// left, by incarnation.
func (d *DB) Drained(ctx context.Context, age time.Duration) ([]Log, error) {
	return query(ctx, d, "list drained logs", scanLog, "SELECT "+logColumns+` FROM compacted_logs
		WHERE collected_at IS NULL AND drained_at <= now() - $1::interval ORDER BY incarnation`, age)
}

// Heads is how much of each shard's chain was looked at: all epochs below.
func (d *DB) Heads(ctx context.Context) (map[stream.Shard]stream.Epoch, error) {
	type head struct{ shard, next int64 }
	heads, err := query(ctx, d, "list chain heads", func(row pgx.CollectableRow) (h head, err error) {
		return h, row.Scan(&h.shard, &h.next)
	}, "SELECT shard, next_epoch FROM chain_heads")
	out := map[stream.Shard]stream.Epoch{}
	for _, h := range heads {
		out[stream.Shard(h.shard)] = stream.Epoch(h.next)
	}
	return out, err
}

// Discover adds the logs that are not known yet, and with them how much of the
// chains was looked at.
func (d *DB) Discover(ctx context.Context, logs []stream.Incarnation, heads map[stream.Shard]stream.Epoch) error {
	return d.change(ctx, failpoint.IndexDiscover, "add logs", func(ctx context.Context, tx pgx.Tx) error {
		const add = "INSERT INTO compacted_logs (incarnation) SELECT DISTINCT unnest($1::uuid[]) ORDER BY 1 ON CONFLICT DO NOTHING"
		if _, err := tx.Exec(ctx, add, uuids(logs)); err != nil {
			return err
		}
		var shards, epochs []int64
		for shard, epoch := range heads {
			shards, epochs = append(shards, int64(shard)), append(epochs, int64(epoch))
		}
		_, err := tx.Exec(ctx, `INSERT INTO chain_heads AS h (shard, next_epoch)
			SELECT * FROM unnest($1::bigint[], $2::bigint[]) ORDER BY 1
			ON CONFLICT (shard) DO UPDATE SET next_epoch = GREATEST(h.next_epoch, EXCLUDED.next_epoch)`, shards, epochs)
		return err
	})
}

// Seal notes where a log's lowest seal stands.
func (d *DB) Seal(ctx context.Context, log stream.Incarnation, end stream.Slot) error {
	n, err := d.exec(ctx, failpoint.IndexSeal, "note a log's end", `UPDATE compacted_logs SET sealed_end = $2,
			drained_at = CASE WHEN watermark = $2 THEN COALESCE(drained_at, now()) END
		WHERE incarnation = $1 AND COALESCE(sealed_end, $2) = $2 AND watermark <= $2`, uuidColumn(log), int64(end))
	if err == nil && n == 0 {
		err = &BehindError{Reason: fmt.Sprintf("log %s is sealed at slot %d, which contradicts its row", log, end)}
	}
	return err
}

// MarkGone notes that a log's slots are going to be deleted. ErrLost: it is not
// drained, so they must not.
func (d *DB) MarkGone(ctx context.Context, log stream.Incarnation) error {
	n, err := d.exec(ctx, failpoint.IndexMarkGone, "mark a log as gone", `UPDATE compacted_logs SET gone_at = COALESCE(gone_at, now())
		WHERE incarnation = $1 AND drained_at IS NOT NULL`, uuidColumn(log))
	if err == nil && n == 0 {
		err = fmt.Errorf("mark a log as gone: %w", ErrLost)
	}
	return err
}

// Collected notes that a gone log's slots have been deleted.
func (d *DB) Collected(ctx context.Context, log stream.Incarnation) error {
	_, err := d.exec(ctx, failpoint.IndexCollected, "note a log's end", `UPDATE compacted_logs SET collected_at = COALESCE(collected_at, now())
		WHERE incarnation = $1 AND gone_at IS NOT NULL`, uuidColumn(log))
	return err
}
