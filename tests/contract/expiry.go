package contract

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"

	"github.com/samsa-io/samsa/tests/cluster"
)

// aged is a record whose timestamp lies so far back.
func aged(body string, age time.Duration) *samsav1.AppendRecord {
	return &samsav1.AppendRecord{Body: []byte(body), Timestamp: new(uint64(time.Now().Add(-age).UnixMilli()))}
}

// requireKept waits until the stream is trimmed to those records. Until then every
// one of them is there, behind what has not been trimmed yet.
func (a *at) requireKept(t testing.TB, tail uint64, want ...string) {
	t.Helper()
	cluster.Eventually(t, patience, "the old records are gone", func() error {
		t.Helper()
		require.Equal(t, tail, a.tail(t).GetNextSeqNum(), "the tail moved")
		got := bodies(a.all(t))
		require.GreaterOrEqual(t, len(got), len(want), "a record is gone before its time: %v", got)
		require.Equal(t, append([]string{}, want...), got[len(got)-len(want):])
		if len(got) > len(want) {
			return fmt.Errorf("still there: %v", got[:len(got)-len(want)])
		}
		return nil
	})
}

// TestExpiry_ShowsAsTrimmingFromTheHead: by the records' timestamps, in the middle of
// a batch, too; reads from below move to the first record kept.
func (s *Suite) TestExpiry_ShowsAsTrimmingFromTheHead(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(3600))})
		a.append(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{aged("0", 5*time.Hour)}})
		a.append(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{
			aged("1", 3*time.Hour), aged("2", 2*time.Hour), aged("3", time.Minute), aged("4", 0),
		}})
		a.requireKept(t, 5, "3", "4")
		response := a.read(t, &samsav1.ReadRequest{Start: &samsav1.ReadRequest_SeqNum{SeqNum: 1}})
		require.EqualValues(t, 3, response.GetBatch().GetRecords()[0].GetSeqNum())
	})
}

// TestExpiry_MayTakeAllRecords; the stream goes on at its tail.
func (s *Suite) TestExpiry_MayTakeAllRecords(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(60))})
		a.append(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{aged("0", time.Hour), aged("1", time.Hour)}})
		a.requireKept(t, 2)
		require.EqualValues(t, 2, a.fill(t, "2").GetStartSeqNum())
		a.requireKept(t, 3, "2")
	})
}

// TestExpiry_HeedsAChangedRetentionForDataThatIsStored, and a retention of 0 keeps
// records for ever.
func (s *Suite) TestExpiry_HeedsAChangedRetentionForDataThatIsStored(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(0))})
		a.append(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{
			aged("years", 100_000*time.Hour), aged("days", 100*time.Hour), aged("hours", 10*time.Hour), aged("now", 0),
		}})
		retain := func(age time.Duration) {
			t.Helper()
			_, err := a.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{
				Bucket: a.bucket, Stream: a.stream, Config: &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(age / time.Second))},
			})
			require.NoError(t, err)
		}
		short := a.named("short") // expires meanwhile, so passes are made
		short.create(t, &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(1))})
		short.append(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{aged("x", time.Hour)}})
		short.requireKept(t, 1)
		a.requireKept(t, 4, "years", "days", "hours", "now")
		retain(50 * time.Hour)
		a.requireKept(t, 4, "hours", "now")
		retain(0)
		retain(5 * time.Hour)
		a.requireKept(t, 4, "now")
		retain(0)
		a.requireKept(t, 4, "now")
	})
}
