package contract

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"

	"github.com/samsa-io/samsa/tests/cluster"
)

// requireDeleted waits until a stream that was let alone is gone.
func (a *at) requireDeleted(t testing.TB) {
	t.Helper()
	cluster.Eventually(t, patience, "the empty stream is deleted", func() error {
		t.Helper()
		_, err := a.GetStreamConfig(call(t), &samsav1.GetStreamConfigRequest{Bucket: a.bucket, Stream: a.stream})
		if notFound.is(err) {
			return nil
		}
		require.True(t, err == nil || deletionPending.is(err), "%v", err)
		return fmt.Errorf("still there: %w", err)
	})
}

// TestDeleting_StreamThatIsEmptyForLongEnoughGoes: one that was never used, and one
// that was trimmed, but none that has a record. Its name is free, and empty.
func (s *Suite) TestDeleting_StreamThatIsEmptyForLongEnoughGoes(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		vain := &samsav1.StreamConfig{DeleteOnEmptyMinAgeSeconds: new(uint64(1))}
		unused := s.stream(t, d, vain)
		used, full := unused.named("used"), unused.named("full")
		used.create(t, nil)
		full.create(t, nil)
		full.fill(t, "kept")
		used.fill(t, "a", "b")
		used.append(t, &samsav1.AppendRequest{Records: command("trim", []byte{0, 0, 0, 0, 0, 0, 0, 3})})
		for _, a := range []*at{full, used} {
			_, err := a.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{Bucket: a.bucket, Stream: a.stream, Config: vain})
			require.NoError(t, err)
		}
		unused.requireDeleted(t)
		used.requireDeleted(t)
		require.Equal(t, []string{"kept"}, bodies(full.all(t)))
		used.create(t, nil)
		require.Zero(t, used.tail(t).GetNextSeqNum())
		require.Empty(t, used.all(t))
	})
}
