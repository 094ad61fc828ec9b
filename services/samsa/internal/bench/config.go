package bench

import (
	"fmt"
	"time"

	"github.com/samsa-io/samsa/pkg/client"
)

// Mode is the kind of load.
type Mode string

// The modes.
const (
	Append  Mode = "append"  // each client has one append in flight
	Session Mode = "session" // each client pipelines through an append session
	Read    Mode = "read"    // streams are filled, then read from the beginning
	Live    Mode = "live"    // as Session, with subscribers that follow
)

// Config is a load.
type Config struct {
	Mode        Mode
	Bucket      string // "": one of its own, deleted afterwards
	Keep        bool   // do not delete it
	Class       client.StorageClass
	Streams     int
	Clients     int
	Subscribers int // for each stream
	RecordBytes int
	Batch       int     // records; 0: by mode and rate
	Rate        float64 // records/s of all clients; 0: as fast as it goes
	Duration    time.Duration
	Records     int // of all clients; 0: until Duration is over
	InFlight    int // batches of a session; 0: the client's default
	Verify      bool
}

// Validate tells what is wrong.
func (c *Config) Validate() error {
	switch {
	case c.Mode != Append && c.Mode != Session && c.Mode != Read && c.Mode != Live:
		return fmt.Errorf("mode %q: want append, session, read or live", c.Mode)
	case c.Streams < 1 || c.Clients < 1:
		return fmt.Errorf("%d streams, %d clients: want at least one of each", c.Streams, c.Clients)
	case c.Mode != Append && c.Clients < c.Streams:
		return fmt.Errorf("%d clients for %d streams: in mode %s each client has one stream, so want at least as many", c.Clients, c.Streams, c.Mode)
	case c.Mode == Live && c.Subscribers < 1:
		return fmt.Errorf("mode live: want at least one subscriber")
	case c.RecordBytes < minRecordBytes || c.RecordBytes > client.MaxBatchBytes-8:
		return fmt.Errorf("record size %d: want %d to %d bytes", c.RecordBytes, minRecordBytes, client.MaxBatchBytes-8)
	case c.Batch < 0 || c.Batch > client.MaxBatchRecords:
		return fmt.Errorf("batch of %d records: want at most %d", c.Batch, client.MaxBatchRecords)
	case c.Batch*(c.RecordBytes+8) > client.MaxBatchBytes:
		return fmt.Errorf("batch of %d records of %d bytes: want at most 1 MiB metered", c.Batch, c.RecordBytes)
	case !(c.Rate >= 0): // nor no number
		return fmt.Errorf("rate of %v records/s: want 0 or more", c.Rate)
	case c.Records <= 0 && c.Duration <= 0:
		return fmt.Errorf("want a number of records or a duration")
	}
	return nil
}

// batch is the records of a batch.
func (c *Config) batch() int {
	switch {
	case c.Batch > 0:
		return c.Batch
	case c.Mode == Append:
		return 1
	}
	fits := min(client.MaxBatchRecords, client.MaxBatchBytes/(c.RecordBytes+8))
	if c.Rate == 0 {
		return fits
	}
	// Ten batches a second of each client, so that a rate and a duration hold.
	return int(max(1, min(float64(fits), c.Rate/float64(c.Clients)/10)))
}
