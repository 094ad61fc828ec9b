package figures

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/objstore"

	"github.com/samsa-io/samsa/tests/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

// scale is how much is done: all of it, or enough to see that measuring works.
type scale struct {
	length                time.Duration
	streams, subscribers  int
	catchUp, cold, probes int
}

func scaleOf() scale {
	if os.Getenv("FIGURES") == "" {
		return scale{length: time.Second, streams: 200, subscribers: 10, catchUp: 20_000, cold: 2, probes: 10}
	}
	return scale{length: 10 * time.Second, streams: 100_000, subscribers: 1000, catchUp: 100_000, cold: 20, probes: 300}
}

func TestFigures(t *testing.T) {
	s := scaleOf()
	b := &bench{t: t, dev: cluster.StartPlainDev(t), program: cluster.PlainProgram(t, "samsa"), length: s.length}

	small := b.probe(s.probes, 2<<10)
	lockstep := b.run("--mode", "append", "--record-size", "1024")
	b.rowf("1 stream, 1 client in lockstep, 1 KiB", "ack p50 %.2f ms = PUT p50 + %.2f ms; ack p99 %.2f ms = %.2f × PUT p99",
		lockstep.Ack.P50, lockstep.Ack.P50-small.p50, lockstep.Ack.P99, lockstep.Ack.P99/small.p99)

	large := b.probe(max(s.probes/10, 3), 4<<20)
	session := b.run("--mode", "session", "--record-size", "1024")
	b.rowf("1 stream, pipelined session, 1 KiB", "%.0f MiB/s, %.2f × what the disk takes of PUTs of 4 MiB one by one",
		session.MiBPerSecond, session.MiBPerSecond/(4*1000/large.mean))
	tiny := b.run("--mode", "session", "--record-size", "100")
	b.rowf("1 stream, pipelined session, 100 B", "%.0f records/s, ack p50 %.1f ms", tiny.RecordsPerSecond, tiny.Ack.P50)

	b.manyStreams(s.streams, tiny)
	b.subscribers(s.subscribers)

	warm := b.run("--mode", "read", "--record-size", "1024", "--records", strconv.Itoa(s.catchUp), "--duration", s.length.String(), "--verify=false")
	b.rowf("catch-up read, again and again", "%.0f MiB/s, %.1f × the session above", warm.MiBPerSecond, warm.MiBPerSecond/session.MiBPerSecond)
	b.coldReads(s.cold)
	t.Log("\n" + b.table.String())
}

// bench runs `samsa bench` against a `samsa dev`.
type bench struct {
	t       *testing.T
	dev     *cluster.Dev
	program string
	length  time.Duration
	table   strings.Builder
}

func (b *bench) rowf(work, format string, values ...any) {
	line := fmt.Sprintf("%-42s %s\n", work, fmt.Sprintf(format, values...))
	b.t.Log(line)
	b.table.WriteString(line)
}

// result is what `samsa bench --format json` prints, as far as it is used here.
type result struct {
	Seconds          float64 `json:"seconds"`
	RecordsPerSecond float64 `json:"records_per_second"`
	MiBPerSecond     float64 `json:"mib_per_second"`
	DeliveredPerSec  float64 `json:"delivered_records_per_second"`
	Ack              latency `json:"ack_ms"`
	Delivery         latency `json:"ack_to_delivery_ms"`

	figures map[string]float64 // the server's, what changed meanwhile
}

type latency struct{ P50, P99 float64 }

func (b *bench) run(args ...string) result {
	b.t.Helper()
	if !slices.Contains(args, "--records") {
		args = append(args, "--duration", b.length.String())
	}
	before := b.figures()
	command := exec.Command(b.program, append([]string{"-a", b.dev.Address(), "bench", "--format", "json"}, args...)...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	require.NoError(b.t, err, "samsa bench %s", strings.Join(args, " "))
	var r result
	require.NoError(b.t, json.Unmarshal(out, &r), "%s", out)
	r.figures = b.figures()
	for name, value := range before {
		r.figures[name] -= value
	}
	return r
}

func (b *bench) figures() map[string]float64 {
	figures, err := b.dev.Figures()
	require.NoError(b.t, err)
	return figures
}

// putsPerSecond is how often the server put segments and states.
func (r result) putsPerSecond() float64 {
	return r.figures[`samsa_objstore_operation_duration_seconds_count{operation="put",outcome="ok"}`] / r.Seconds
}

// manyStreams appends to many streams in turn, beside one with the same records.
func (b *bench) manyStreams(streams int, one result) {
	args := []string{"--mode", "append", "--record-size", "100", "--batch", "100", "--clients", "200", "--verify=false"}
	few := b.run(args...)
	many := b.run(append(args, "--streams", strconv.Itoa(streams), "--records", strconv.Itoa(2*100*streams))...)
	b.rowf(fmt.Sprintf("%d streams, 100 B, batches of 100", streams), "%.0f records/s = %.2f × 1 stream; %.2f × its PUT/s; %.0f B RSS per stream",
		many.RecordsPerSecond, many.RecordsPerSecond/few.RecordsPerSecond, many.putsPerSecond()/few.putsPerSecond(),
		many.figures["process_resident_memory_bytes"]/float64(streams))
}

// subscribers follows one stream many times.
func (b *bench) subscribers(n int) {
	live := b.run("--mode", "live", "--record-size", "100", "--subscribers", strconv.Itoa(n), "--rate", "420", "--batch", "50", "--verify=false")
	b.rowf(fmt.Sprintf("1 stream → %d live subscribers", n), "%.0f records/s delivered; ack p50 %.1f ms, to delivery p50 %.1f ms, p99 %.1f ms",
		live.DeliveredPerSec, live.Ack.P50, live.Delivery.P50, live.Delivery.P99)
}

// coldReads reads streams for the first time after a restart.
func (b *bench) coldReads(n int) {
	ctx := b.t.Context()
	c := cluster.Client(b.t, b.dev)
	_, err := c.CreateBucket(ctx, "cold", client.BucketConfig{CreateStreamOnAppend: new(true)})
	require.NoError(b.t, err)
	name := func(i int) string { return "s" + strconv.Itoa(i) }
	for i := range n {
		_, err := c.Bucket("cold").Stream(name(i)).Append(ctx, client.AppendInput{Records: []client.AppendRecord{{Body: make([]byte, 1<<10)}}})
		require.NoError(b.t, err)
	}
	require.Zero(b.t, b.dev.Stop(b.t, time.Minute))
	b.dev.Start(b.t)
	c = cluster.Client(b.t, b.dev)
	var took []time.Duration
	for i := range n {
		s := c.Bucket("cold").Stream(name(i))
		begun := time.Now()
		_, err := s.Read(ctx, client.Read{Start: client.FromSeqNum(0)})
		require.NoError(b.t, err)
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.rowf("cold read, first byte", "p50 %.2f ms, most %.2f ms, connecting included", ms(took[n/2]), ms(took[n-1]))
}

// disk is how long PUTs take without Samsa, in milliseconds.
type disk struct{ p50, p99, mean float64 }

// probe puts objects one by one where the server's data lies.
func (b *bench) probe(n, bytes int) disk {
	store, err := objstore.Open(b.t.Context(), objstore.Config{URL: "file://" + filepath.Join(b.dev.Folder, "probe")})
	require.NoError(b.t, err)
	body := make([]byte, bytes)
	var took []time.Duration
	var total time.Duration
	for i := range n {
		begun := time.Now()
		require.NoError(b.t, store.PutIfAbsent(b.t.Context(), fmt.Sprintf("%d/%d", bytes, i), body))
		took = append(took, time.Since(begun))
		total += took[i]
	}
	slices.Sort(took)
	d := disk{p50: ms(took[n/2]), p99: ms(took[n*99/100]), mean: ms(total) / float64(n)}
	b.rowf(fmt.Sprintf("PUT of %d KiB without Samsa", bytes>>10), "p50 %.2f ms, p99 %.2f ms", d.p50, d.p99)
	return d
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
