package objstore_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/local/s3"
	"github.com/samsa-io/samsa/pkg/objstore"
)

// What one fsync costs here: the ruler for the figures of file://.
func BenchmarkFsyncOfNewFile(b *testing.B) {
	folder := b.TempDir()
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			body := make([]byte, size.bytes)
			b.SetBytes(int64(size.bytes))
			for i := 0; b.Loop(); i++ {
				file, err := os.Create(filepath.Join(folder, fmt.Sprint(size.name, i)))
				require.NoError(b, err)
				_, err = file.Write(body)
				require.NoError(b, err)
				require.NoError(b, file.Sync())
				require.NoError(b, file.Close())
			}
		})
	}
}

func BenchmarkPut(b *testing.B) {
	server := s3.ForTest(b)
	for _, store := range []struct {
		name string
		cfg  objstore.Config
	}{
		{"file", objstore.Config{URL: "file://" + b.TempDir()}},
		{"s3", server.Config("bench")},
		{"mem", objstore.Config{URL: "mem://"}},
	} {
		s := openConfig(b, store.cfg)
		var slot atomic.Int64
		for _, size := range sizes {
			for _, inFlight := range []int{1, 8} {
				b.Run(fmt.Sprintf("%s/%s/%d", store.name, size.name, inFlight), func(b *testing.B) {
					benchmarkPut(b, s, &slot, size.bytes, inFlight)
				})
			}
		}
	}
}

func benchmarkPut(b *testing.B, s objstore.Store, slot *atomic.Int64, size, inFlight int) {
	body := make([]byte, size)
	b.SetBytes(int64(size))
	b.SetParallelism(inFlight) // times GOMAXPROCS
	put := func() {
		if err := s.PutIfAbsent(b.Context(), fmt.Sprintf("log/x/%020d", slot.Add(1)), body); err != nil {
			b.Error(err)
		}
	}
	if inFlight == 1 {
		for b.Loop() {
			put()
		}
		return
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			put()
		}
	})
}

var sizes = []struct {
	name  string
	bytes int
}{{"4KiB", 4 << 10}, {"4MiB", 4 << 20}}

// What the client alone costs: the server throws bodies away.
func BenchmarkS3Client(b *testing.B) {
	for _, scheme := range []struct {
		name string
		open func(testing.TB, http.Handler) objstore.Store
	}{{"http", openPlain}, {"https", openTLS}} {
		for _, size := range sizes {
			b.Run(scheme.name+"/"+size.name, func(b *testing.B) {
				var slot atomic.Int64
				benchmarkPut(b, scheme.open(b, answer(http.StatusOK, "")), &slot, size.bytes, 1)
			})
		}
	}
}
