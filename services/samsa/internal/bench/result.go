package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a load gave.
type Result struct {
	Mode             Mode       `json:"mode"`
	Streams          int        `json:"streams"`
	Clients          int        `json:"clients"`
	Subscribers      int        `json:"subscribers,omitempty"`
	RecordBytes      int        `json:"record_bytes"`
	Batch            int        `json:"batch"`
	Records          uint64     `json:"records"`
	Seconds          float64    `json:"seconds"`
	RecordsPerSecond float64    `json:"records_per_second"`
	MiBPerSecond     float64    `json:"mib_per_second"`
	Ack              *Latencies `json:"ack_ms,omitempty"`
	Delivered        uint64     `json:"delivered_records,omitempty"`
	DeliveredPerSec  float64    `json:"delivered_records_per_second,omitempty"`
	Delivery         *Latencies `json:"ack_to_delivery_ms,omitempty"`
	Verified         uint64     `json:"verified_records"`
}

// Latencies are percentiles in milliseconds.
type Latencies struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

// histogram is safe for concurrent use. It counts microseconds up to ten minutes,
// to three digits.
type histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

func newHistogram() *histogram {
	return &histogram{h: hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)}
}

func (h *histogram) record(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	us := min(max(d.Microseconds(), 1), h.h.HighestTrackableValue())
	_ = h.h.RecordValue(us) // within its range
}

func (h *histogram) latencies() *Latencies {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.h.TotalCount() == 0 {
		return nil
	}
	at := func(p float64) float64 { return float64(h.h.ValueAtPercentile(p)) / 1000 }
	return &Latencies{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(h.h.Max()) / 1000}
}
