package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"

	"github.com/samsa-io/samsa/tests/cluster"
)

// eager has compaction and collection happen while one looks on.
var eager = []string{
	"--compactor.interval_ms", "50", "--compactor.live_age_secs", "0", "--compactor.live_bytes", "0",
	"--storage.cleanup_interval_secs", "1", "--storage.cleanup_grace_period_secs", "1",
}

// storeOf is the object store of a `samsa dev`.
func storeOf(t testing.TB, dev *cluster.Dev) objstore.Store {
	t.Helper()
	store, err := objstore.Open(t.Context(), objstore.Config{URL: "file://" + filepath.Join(dev.Folder, "store")})
	require.NoError(t, err)
	return store
}

// census is what stands in a store.
type census struct {
	slots, seals, gone, chunks int
	logBytes, chunkBytes       int64
}

func (c census) String() string {
	return fmt.Sprintf("%d slots of %d bytes, %d seals, %d gone marks, %d chunk objects of %d bytes",
		c.slots, c.logBytes, c.seals, c.gone, c.chunks, c.chunkBytes)
}

// countObjects lists the store; objects that go meanwhile do not count.
func countObjects(t testing.TB, store objstore.Store) (c census) {
	t.Helper()
	for info, err := range store.List(t.Context(), "", "") {
		require.NoError(t, err)
		switch {
		case strings.HasPrefix(info.Key, segment.ChunkPrefix):
			c.chunks++
			c.chunkBytes += info.Size
		case strings.HasSuffix(info.Key, "/gone"):
			c.gone++
		case strings.HasPrefix(info.Key, segment.LogPrefix):
			last, err := store.Get(t.Context(), info.Key, objstore.Suffix(segment.TrailerSize))
			if err != nil {
				continue
			}
			trailer, err := segment.DecodeTrailer(last.Body)
			require.NoError(t, err)
			if trailer.Kind == segment.KindSeal {
				c.seals++
			} else {
				c.slots++
				c.logBytes += info.Size
			}
		}
	}
	return c
}

// filling appends lines to streams of a bucket and knows them all.
type filling struct {
	bucket string
	lines  map[string][][]byte
}

func (f *filling) append(ctx context.Context, t testing.TB, c *client.Client, stream string, count, bytes int) {
	t.Helper()
	var fresh [][]byte
	for range count {
		n := len(f.lines[stream]) + len(fresh)
		line := fmt.Appendf(nil, "%s line %d ", stream, n)
		fresh = append(fresh, append(line, strings.Repeat(string(line), 1+bytes/len(line))[:bytes]...))
	}
	require.NoError(t, produce(ctx, c.Bucket(f.bucket).Stream(stream).Producer(ctx, client.ProducerOptions{}), fresh))
	f.lines[stream] = append(f.lines[stream], fresh...)
}

// requireAll reads everything by each client.
func (f *filling) requireAll(t testing.TB, clients ...*client.Client) {
	t.Helper()
	for _, c := range clients {
		for stream, lines := range f.lines {
			requireLines(t, c.Bucket(f.bucket).Stream(stream), lines)
		}
	}
}

// TestDevCompacts: what is written goes into chunks, the slots that held it go once
// their log is sealed, and nobody who reads can tell.
func TestDevCompacts(t *testing.T) {
	dev := cluster.StartDev(t, eager...)
	ctx := t.Context() // as long as it takes
	native := cluster.Client(t, dev)
	web, err := client.New(dev.HTTP())
	require.NoError(t, err)
	defer web.Close()
	_, err = native.CreateBucket(ctx, "compaction", client.BucketConfig{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)
	f := &filling{bucket: "compaction", lines: map[string][][]byte{}}
	store := storeOf(t, dev)

	const streams = 12
	for round := range 3 {
		for s := range streams {
			f.append(ctx, t, native, fmt.Sprintf("stream-%d", s), 40, 50+200*s)
		}
		before := countObjects(t, store)
		t.Logf("round %d, written: %s", round, before)
		f.requireAll(t, native, web)
		require.Zero(t, dev.Stop(t, patience))
		dev.Start(t) // its writer seals the log of the one before
		// Every shard goes to the new writer: nothing is left of the old log but what is in chunks.
		for s := range streams {
			f.append(ctx, t, native, fmt.Sprintf("stream-%d", s), 1, 10)
		}
		cluster.Eventually(t, patience, "the slots of the sealed logs are gone", func() error {
			after := countObjects(t, store)
			if after.gone <= round || after.chunks == 0 {
				return fmt.Errorf("there are %s", after)
			}
			return nil
		})
		t.Logf("round %d, compacted: %s", round, countObjects(t, store))
		f.requireAll(t, native, web)
	}
	written := int64(0)
	for _, lines := range f.lines {
		for _, line := range lines {
			written += int64(len(line))
		}
	}
	cluster.Eventually(t, patience, "the store holds little more than one copy", func() error {
		if now := countObjects(t, store); now.logBytes > written/2 || now.chunkBytes > 2*written {
			return fmt.Errorf("of %d bytes written there are %s", written, now)
		}
		return nil
	})
	f.requireAll(t, native, web)
	require.Zero(t, dev.Stop(t, patience))
}

// connectTo is a connection to a dev's Postgres.
func databaseOf(t testing.TB, dev *cluster.Dev) string {
	t.Helper()
	address, err := postgres.URLOf(filepath.Join(dev.Folder, "postgres"))
	require.NoError(t, err)
	return address
}

func connectTo(t testing.TB, dev *cluster.Dev) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseOf(t, dev))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// tables is everything that Samsa keeps in Postgres, but for what goose does.
var tables = []string{
	"buckets", "streams", "ended_streams", "access_tokens",
	"chunk_index", "compacted_logs", "chain_heads", "chunk_objects", "chunks", "stream_limits", "tombstoned_buckets",
}

// backUp copies all tables, as a dump does.
func backUp(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	statements := "CREATE SCHEMA backup; CREATE TABLE backup.ids AS SELECT last_value FROM chunk_object_ids;"
	for _, table := range tables {
		statements += fmt.Sprintf("CREATE TABLE backup.%[1]s AS TABLE public.%[1]s;", table)
	}
	_, err := conn.Exec(t.Context(), "BEGIN;"+statements+"COMMIT")
	require.NoError(t, err)
}

// putBack makes the tables what they were.
func putBack(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	statements := "TRUNCATE " + strings.Join(tables, ", ") + "; SELECT setval('chunk_object_ids', last_value) FROM backup.ids;"
	for _, table := range tables {
		statements += fmt.Sprintf("INSERT INTO public.%[1]s SELECT * FROM backup.%[1]s;", table)
	}
	_, err := conn.Exec(t.Context(), "BEGIN;"+statements+"COMMIT")
	require.NoError(t, err)
}

// indexRows are the chunks, in order.
func indexRows(t testing.TB, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT c::text FROM chunks c ORDER BY stream_id, next_seq")
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return all
}

// verify runs samsa admin verify on a dev's data and gives what it found.
func verify(t testing.TB, c cli, dev *cluster.Dev, args ...string) outcome {
	t.Helper()
	return c.run(t, "", append([]string{"admin", "verify", "--data-dir", dev.Folder, "--format", "json"}, args...)...)
}

func requireSound(t testing.TB, c cli, dev *cluster.Dev) {
	t.Helper()
	seen := verify(t, c, dev)
	require.Zero(t, seen.code, "%s%s", seen.stdout, seen.stderr)
	t.Log(strings.TrimSpace(seen.stderr))
}

// sealAll restarts dev, and waits until all that its logs held is in chunks and the
// slots are gone.
func (f *filling) sealAll(ctx context.Context, t testing.TB, dev *cluster.Dev, c *client.Client, store objstore.Store) {
	t.Helper()
	before := countObjects(t, store)
	require.Zero(t, dev.Stop(t, patience))
	dev.Start(t)
	for stream := range f.lines {
		f.append(ctx, t, c, stream, 1, 10)
	}
	cluster.Eventually(t, patience, "the slots of the sealed logs are gone", func() error {
		if now := countObjects(t, store); now.gone <= before.gone {
			return fmt.Errorf("there are %s", now)
		}
		return nil
	})
}

// TestRestore: Postgres is put back to an old backup, then loses the index, then is
// told less than the store holds. Nothing is lost, the index comes back, and what
// was created meanwhile does, too.
func TestRestore(t *testing.T) {
	dev := cluster.StartDev(t, eager...)
	ctx := t.Context() // as long as it takes
	c, line := cluster.Client(t, dev), commandLine(t, dev)
	_, err := c.CreateBucket(ctx, "restore", client.BucketConfig{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)
	f := &filling{bucket: "restore", lines: map[string][][]byte{}}
	store := storeOf(t, dev)
	fill := func(from, to int) {
		for s := from; s < to; s++ {
			f.append(ctx, t, c, fmt.Sprintf("stream-%d", s), 30, 300)
		}
	}
	fill(0, 6)
	f.sealAll(ctx, t, dev, c, store)
	conn := connectTo(t, dev)
	requireSound(t, line, dev)
	backUp(t, conn)

	fill(0, 9) // three more streams
	f.sealAll(ctx, t, dev, c, store)
	fill(0, 9)
	f.sealAll(ctx, t, dev, c, store)
	f.requireAll(t, c)
	requireSound(t, line, dev)

	conn = connectTo(t, dev)
	release := cluster.HoldCompactors(t, databaseOf(t, dev))
	putBack(t, conn)
	release()
	cluster.Eventually(t, patience, "the compactor has found out and rebuilt the index", func() error {
		if !strings.Contains(dev.LogTail(), "rebuilt the chunk index from the object store") {
			return fmt.Errorf("it has not said so")
		}
		return nil
	})
	require.Contains(t, dev.LogTail(), "is not to be trusted")
	f.requireAll(t, c)
	requireSound(t, line, dev)
	streams := line.ok(t, "", "stream", "-b", "restore", "list", "--format", "json")
	require.Equal(t, 9, strings.Count(streams, "\n"), "those that the backup did not know are back: %s", streams)
	fill(0, 9)
	f.requireAll(t, c)

	// The index is lost while nobody looks; the command makes it again.
	require.Zero(t, dev.Stop(t, patience))
	dev.Start(t)
	f.requireAll(t, c)
	conn = connectTo(t, dev)
	cluster.Eventually(t, patience, "it has come to rest", func() error {
		before := indexRows(t, conn)
		if seen := line.run(t, "", "admin", "rebuild-index", "--data-dir", dev.Folder); seen.code != 0 {
			require.Contains(t, seen.stderr, "being rebuilt") // the compactor was first
			return errors.New(seen.stderr)
		}
		if after := indexRows(t, conn); !slices.Equal(before, after) {
			return fmt.Errorf("%d rows before, %d after a rebuild", len(before), len(after))
		}
		return nil
	})
	cluster.EmptyIndex(t, databaseOf(t, dev))
	seen := line.run(t, "", "admin", "rebuild-index", "--data-dir", dev.Folder)
	if seen.code != 0 { // the compactor was first
		require.Contains(t, seen.stderr, "being rebuilt")
	}
	cluster.Eventually(t, patience, "all can be read", func() error {
		if seen := verify(t, line, dev); seen.code != 0 {
			return fmt.Errorf("%s%s", seen.stdout, seen.stderr)
		}
		return nil
	})
	f.requireAll(t, c)
	fill(0, 9)
	f.sealAll(ctx, t, dev, c, store)
	f.requireAll(t, c)
	requireSound(t, line, dev)
}

// TestDamage: a bit that flips in an object is found by whoever reads it, and by
// samsa admin verify, both of whom name it.
func TestDamage(t *testing.T) {
	dev := cluster.StartDev(t, eager...)
	ctx := t.Context() // as long as it takes
	c, line := cluster.Client(t, dev), commandLine(t, dev)
	_, err := c.CreateBucket(ctx, "damage", client.BucketConfig{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)
	f := &filling{bucket: "damage", lines: map[string][][]byte{}}
	store := storeOf(t, dev)
	f.append(ctx, t, c, "hurt", 50, 500)
	f.append(ctx, t, c, "sound", 50, 500)
	f.sealAll(ctx, t, dev, c, store)
	requireSound(t, line, dev)

	var key string
	var offset int64
	release := cluster.HoldCompactors(t, databaseOf(t, dev))
	require.NoError(t, connectTo(t, dev).QueryRow(ctx, `SELECT object, offset_bytes FROM chunks c JOIN streams s ON s.id = c.stream_id
		WHERE s.name = 'hurt' ORDER BY next_seq LIMIT 1`).Scan(scanKey{&key}, &offset))
	require.Zero(t, dev.Stop(t, patience)) // so that nothing is in memory
	release()
	flipBit(t, filepath.Join(dev.Folder, "store", filepath.FromSlash(key)), offset+5)
	dev.Start(t)

	_, err = c.Bucket("damage").Stream("hurt").Read(ctx, client.Read{Start: client.FromSeqNum(0)})
	var failure *client.Error
	require.ErrorAs(t, err, &failure)
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR, failure.Code)
	require.Contains(t, failure.Message, key)
	requireLines(t, c.Bucket("damage").Stream("sound"), f.lines["sound"])

	seen := verify(t, line, dev)
	require.Equal(t, 1, seen.code)
	require.Contains(t, seen.stderr, "there is damage")
	require.Contains(t, seen.stdout, fmt.Sprintf(`"kind":"damage","key":%q,"offset":%d`, key, offset))
	require.Contains(t, seen.stdout, `"bucket":"damage","stream":"hurt","first_seq_num":0`)

	flipBit(t, filepath.Join(dev.Folder, "store", filepath.FromSlash(key)), offset+5) // restored
	f.requireAll(t, c)
	requireSound(t, line, dev)
}

// scanKey makes an id the key of its object.
type scanKey struct{ key *string }

func (s scanKey) ScanInt64(v pgtype.Int8) error {
	*s.key = segment.ChunkKey(segment.ChunkID(v.Int64))
	return nil
}

func flipBit(t testing.TB, path string, offset int64) {
	t.Helper()
	require.NoError(t, os.Chmod(path, 0o644))
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer file.Close()
	var b [1]byte
	_, err = file.ReadAt(b[:], offset)
	require.NoError(t, err)
	b[0] ^= 0x10
	_, err = file.WriteAt(b[:], offset)
	require.NoError(t, err)
}
