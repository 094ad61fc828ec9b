package chunkindex

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrRebuilding says that somebody rebuilds the index.
var ErrRebuilding = errors.New("the chunk index is being rebuilt")

// Advisory locks. Rounds of compactors share the first, a rebuild has it alone; the
// second is held by the one rebuild that there may be; the third is Publish's.
const (
	roundsLock  int64 = 0x53616d7361_01
	rebuildLock int64 = 0x53616d7361_02
	bucketsLock int64 = 0x53616d7361_03
)

// unlockBudget bounds giving a lock back; after it the connection is cut, which
// gives it back as well.
const unlockBudget = 5 * time.Second

// Enter begins a round of compaction or collection. Until leave is called no rebuild
// replaces the index. ErrRebuilding: one is at work, or waits for others to leave.
func (d *DB) Enter(ctx context.Context) (leave func(), err error) {
	return d.lock(ctx, "begin a round", "SELECT pg_try_advisory_lock_shared($1)", "SELECT pg_advisory_unlock_shared($1)", roundsLock)
}

// Exclude waits until all rounds have left and keeps others from entering, until
// release is called. ErrRebuilding: somebody else does so already.
func (d *DB) Exclude(ctx context.Context) (release func(), err error) {
	const unlock = "SELECT pg_advisory_unlock($1)"
	only, err := d.lock(ctx, "begin to rebuild the chunk index", "SELECT pg_try_advisory_lock($1)", unlock, rebuildLock)
	if err != nil {
		return nil, err
	}
	// Postgres gives the lock to those who wait before those who try.
	alone, err := d.lock(ctx, "wait for compactors", "SELECT true FROM pg_advisory_lock($1)", unlock, roundsLock)
	if err != nil {
		only()
		return nil, err
	}
	return func() { alone(); only() }, nil
}

// lock takes a lock on a connection of its own, which keeps it.
func (d *DB) lock(ctx context.Context, operation, take, give string, key int64) (func(), error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, translate(ctx, operation, err)
	}
	var taken bool
	err = conn.QueryRow(ctx, take, key).Scan(&taken)
	if err == nil && !taken {
		err = ErrRebuilding
	}
	if err != nil {
		conn.Release()
		return nil, translate(ctx, operation, err)
	}
	return func() { unlock(conn, give, key) }, nil
}

func unlock(conn *pgxpool.Conn, give string, key int64) {
	ctx, cancel := context.WithTimeout(context.Background(), unlockBudget)
	defer cancel()
	if _, err := conn.Exec(ctx, give, key); err != nil {
		_ = conn.Conn().Close(ctx)
	}
	conn.Release()
}

// Enter is as DB's.
func (m *Mem) Enter(ctx context.Context) (leave func(), err error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if m.excluded {
		return nil, fmt.Errorf("begin a round: %w", ErrRebuilding)
	}
	m.rounds++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.rounds--
	}, nil
}

// Exclude is as DB's, but that it does not wait: ErrRebuilding if there are rounds.
func (m *Mem) Exclude(ctx context.Context) (release func(), err error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if m.excluded || m.rounds > 0 {
		return nil, fmt.Errorf("begin to rebuild the chunk index: %w", ErrRebuilding)
	}
	m.excluded = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.excluded = false
	}, nil
}
