package server_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"

	"github.com/samsa-io/samsa/services/stream-reader/internal/fake"
)

// noise is a body that does not compress.
func noise(size int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	return out
}

// A session that reads 64 MiB of stored records, all blocks in the cache, by a
// client in the same process that decodes them.
func BenchmarkCatchUp(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			const total = 64 << 20
			r := newRig(b, "127.0.0.1:0")
			s := r.cluster.Create(fake.Name(0))
			record := fake.Record{Timestamp: 1, IDMillis: 1, Body: noise(size)}
			batch := make([]fake.Record, 1000)
			for i := range batch {
				batch[i] = record
			}
			var count uint64
			for ; count*uint64(size) < total; count += 4000 {
				r.cluster.Append(s, true, batch, batch, batch, batch)
			}
			in := sessionOf(s)
			in.Start = &samsav1.ReadSessionRequest_SeqNum{SeqNum: 0}
			in.Limit = &samsav1.ReadLimit{Count: &count}
			b.SetBytes(int64(count) * int64(size))
			for b.Loop() {
				session, err := r.client.ReadSession(b.Context(), in)
				require.NoError(b, err)
				for err == nil {
					_, err = session.Recv()
				}
				require.ErrorIs(b, err, io.EOF)
			}
			b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// One stream with 1,000 live subscribers on 10 connections; a batch is appended
// once everybody has the one before it.
func BenchmarkSubscribers(b *testing.B) {
	const subscribers = 1000
	for _, batch := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%d records of 100B", batch), func(b *testing.B) {
			r := newRig(b, "127.0.0.1:0")
			s := r.create(0)
			ctx, cancel := context.WithCancel(b.Context())
			var group sync.WaitGroup
			defer group.Wait()
			defer cancel()
			var delivered, ready atomic.Int64
			for range subscribers {
				session, err := r.client.ReadSession(ctx, sessionOf(s))
				require.NoError(b, err)
				group.Go(func() {
					for {
						out, err := session.Recv()
						if err != nil {
							return
						}
						if out.Tail != nil {
							ready.Add(1)
						}
						delivered.Add(int64(len(out.GetOutput().GetBatch().GetRecords())))
					}
				})
			}
			until(func() bool { return ready.Load() == subscribers })
			records := make([]fake.Record, batch)
			for i := range records {
				records[i] = fake.Record{Timestamp: 9, IDMillis: 9, Body: noise(100)}
			}
			want := int64(0)
			for b.Loop() {
				r.cluster.Append(s, false, records)
				want += int64(batch * subscribers)
				until(func() bool { return delivered.Load() == want })
			}
			b.ReportMetric(float64(want)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/all")
		})
	}
}

func until(ok func() bool) {
	for !ok() {
		time.Sleep(50 * time.Microsecond)
	}
}
