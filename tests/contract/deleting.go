package contract

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"

	"github.com/samsa-io/samsa/tests/cluster"
)

// requireGone waits until try answers NOT_FOUND; until then it must say that the
// deletion is pending, and never anything else.
func requireGone(t testing.TB, try func() error) {
	t.Helper()
	cluster.Eventually(t, patience, "the name is gone", func() error {
		t.Helper()
		err := try()
		if notFound.is(err) {
			return nil
		}
		requireFailure(t, deletionPending, err)
		return err
	})
}

// requireFree waits until create works; until then it must say that the deletion is
// pending.
func requireFree(t testing.TB, create func() error) {
	t.Helper()
	cluster.Eventually(t, patience, "the name is free", func() error {
		t.Helper()
		err := create()
		if err != nil {
			requireFailure(t, deletionPending, err)
		}
		return err
	})
}

func (a *at) remove(t testing.TB) {
	t.Helper()
	_, err := a.DeleteStream(call(t), &samsav1.DeleteStreamRequest{Bucket: a.bucket, Stream: a.stream})
	require.NoError(t, err)
}

// calls are all calls about a stream, after which it would be there.
func (a *at) calls(t testing.TB) map[string]func() error {
	return map[string]func() error{
		"append": func() error { _, err := a.try(t, &samsav1.AppendRequest{Records: records("x")}); return err },
		"tail": func() error {
			_, err := a.CheckTail(call(t), &samsav1.CheckTailRequest{Bucket: a.bucket, Stream: a.stream})
			return err
		},
		"read": func() error { _, err := a.tryRead(t, &samsav1.ReadRequest{}); return err },
		"config": func() error {
			_, err := a.GetStreamConfig(call(t), &samsav1.GetStreamConfigRequest{Bucket: a.bucket, Stream: a.stream})
			return err
		},
		"reconfigure": func() error {
			_, err := a.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{
				Bucket: a.bucket, Stream: a.stream, Config: &samsav1.StreamConfig{StorageClass: express},
			})
			return err
		},
		"delete": func() error {
			_, err := a.DeleteStream(call(t), &samsav1.DeleteStreamRequest{Bucket: a.bucket, Stream: a.stream})
			return err
		},
	}
}

// TestDeleting_StreamIsPendingUntilItIsNotFound, whatever the call.
func (s *Suite) TestDeleting_StreamIsPendingUntilItIsNotFound(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		a.fill(t, "a", "b", "c")
		a.remove(t)
		for what, try := range a.calls(t) {
			err := try()
			require.True(t, deletionPending.is(err) || notFound.is(err), "%s: %v", what, err)
		}
		for _, try := range a.calls(t) {
			requireGone(t, try)
		}
		list, err := d.ListStreams(call(t), &samsav1.ListStreamsRequest{Bucket: a.bucket})
		require.NoError(t, err)
		require.Empty(t, list.GetStreams())
	})
}

// TestDeleting_RecreatedStreamShowsNothingOld: neither records nor ids nor tokens
// nor producers.
func (s *Suite) TestDeleting_RecreatedStreamShowsNothingOld(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		for round := range 3 {
			old := a.append(t, &samsav1.AppendRequest{
				Records: records(fmt.Sprint("old ", round)), ProducerId: new("p"), ProducerSeq: new(uint64(0)), FencingToken: new(""),
			})
			require.Zero(t, old.GetStartSeqNum())
			a.append(t, &samsav1.AppendRequest{Records: command("fence", []byte("token"))})
			a.remove(t)
			requireFree(t, func() error {
				_, err := a.CreateStream(call(t), &samsav1.CreateStreamRequest{Bucket: a.bucket, Stream: a.stream})
				return err
			})
			require.Zero(t, a.tail(t).GetNextSeqNum())
			require.Empty(t, a.all(t))
			_, err := a.tryRead(t, &samsav1.ReadRequest{Start: &samsav1.ReadRequest_SeqId{SeqId: old.GetStartSeqId()}})
			requireFailure(t, badSeqID, err)
			_, err = a.try(t, &samsav1.AppendRequest{Records: records("x"), MatchSeqId: new(old.GetStartSeqId())})
			requireFailure(t, badSeqID, err)
		}
	})
}

// TestDeleting_NothingIsAcknowledgedAfterwards: appends race with the deletion;
// none that begins after it has returned is acknowledged.
func (s *Suite) TestDeleting_NothingIsAcknowledgedAfterwards(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		a.fill(t, "first")
		deleted := make(chan struct{})
		var appenders sync.WaitGroup
		for range 4 {
			appenders.Go(func() {
				for {
					over := false
					select {
					case <-deleted:
						over = true
					default:
					}
					_, err := a.Append(call(t), &samsav1.AppendRequest{Bucket: a.bucket, Stream: a.stream, Records: records("x")})
					if over {
						if !notFound.is(err) && !deletionPending.is(err) {
							t.Errorf("an append after the deletion: %v", err)
						}
						return
					}
				}
			})
		}
		a.remove(t)
		close(deleted)
		appenders.Wait()
	})
}

// TestDeleting_EndsTheSessionsOfTheStream with an error, after the records.
func (s *Suite) TestDeleting_EndsTheSessionsOfTheStream(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		a.fill(t, "a")
		session := a.session(t, &samsav1.ReadSessionRequest{Start: &samsav1.ReadSessionRequest_SeqNum{}})
		require.Equal(t, []string{"a"}, bodies(session.upToTail(t)))
		a.remove(t)
		err := session.end(t)
		require.Error(t, err)
		code := detailOf(t, err).GetCode()
		require.Contains(t, []samsav1.ErrorCode{notFound.code, deletionPending.code}, code, "%v", err)
	})
}

// TestDeleting_BucketTakesItsStreamsAlong, and its name comes back empty.
func (s *Suite) TestDeleting_BucketTakesItsStreamsAlong(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		streams := []*at{a}
		for i := range 8 {
			b := a.named(fmt.Sprint("s", i))
			b.create(t, nil)
			streams = append(streams, b)
		}
		for _, b := range streams {
			b.fill(t, "old")
		}
		_, err := d.DeleteBucket(call(t), &samsav1.DeleteBucketRequest{Bucket: a.bucket})
		require.NoError(t, err)
		for _, b := range streams {
			for what, try := range b.calls(t) {
				err := try()
				require.True(t, deletionPending.is(err) || notFound.is(err), "%s %s: %v", what, b.stream, err)
			}
		}
		_, err = a.CreateStream(call(t), &samsav1.CreateStreamRequest{Bucket: a.bucket, Stream: "new"})
		require.True(t, deletionPending.is(err) || notFound.is(err), "%v", err)
		requireGone(t, func() error {
			_, err := d.GetBucketConfig(call(t), &samsav1.GetBucketConfigRequest{Bucket: a.bucket})
			return err
		})
		requireFree(t, func() error {
			_, err := d.CreateBucket(call(t), &samsav1.CreateBucketRequest{
				Bucket: a.bucket, Config: &samsav1.BucketConfig{CreateStreamOnAppend: new(true)},
			})
			return err
		})
		for _, b := range streams {
			require.Zero(t, b.fill(t, "new").GetStartSeqNum(), b.stream)
			require.Equal(t, []string{"new"}, bodies(b.all(t)), b.stream)
		}
	})
}

// TestDeleting_ShowsInLists while it lasts.
func (s *Suite) TestDeleting_ShowsInLists(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		bucket := s.bucket(t, nil)
		_, err := d.DeleteBucket(call(t), &samsav1.DeleteBucketRequest{Bucket: bucket})
		require.NoError(t, err)
		cluster.Eventually(t, patience, "the bucket is gone from the list", func() error {
			list, err := d.ListBuckets(call(t), &samsav1.ListBucketsRequest{Prefix: bucket})
			require.NoError(t, err)
			for _, b := range list.GetBuckets() {
				require.Equal(t, samsav1.BucketState_BUCKET_STATE_DELETING, b.GetState())
				require.NotNil(t, b.DeletedAt)
				return fmt.Errorf("still there: %v", b)
			}
			return nil
		})
	})
}
