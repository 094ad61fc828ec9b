package faulty_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t *testing.T) *faulty.Store {
	s := faulty.New(objstore.NewMem())
	require.NoError(t, s.PutIfAbsent(t.Context(), "key", []byte("0123456789")))
	return s
}

func TestAdd_HitsTheNthMatchingCall(t *testing.T) {
	s := newStore(t)
	broken := errors.New("broken")
	s.Add(faulty.Rule{Op: objstore.OpHead, Prefix: "k", Nth: 2, Times: 2, Fault: faulty.Fail(broken)})
	var answers []bool
	for range 5 {
		_, _ = s.Get(t.Context(), "key", objstore.Whole)
		_, _ = s.Head(t.Context(), "other")
		_, err := s.Head(t.Context(), "key")
		answers = append(answers, err == nil)
	}
	require.Equal(t, []bool{true, false, false, true, true}, answers)
	require.Equal(t, 10, s.Calls(objstore.OpHead))
}

func TestReplyLost_PutLands(t *testing.T) {
	s := newStore(t)
	s.Add(faulty.Rule{Op: objstore.OpPut, Fault: faulty.ReplyLost()})
	require.ErrorIs(t, s.PutIfAbsent(t.Context(), "new", nil), faulty.ErrReplyLost)
	require.ErrorIs(t, s.PutIfAbsent(t.Context(), "new", nil), objstore.ErrExists)
}

func TestLate_PutLandsWhenTold(t *testing.T) {
	s := newStore(t)
	s.Add(faulty.Rule{Op: objstore.OpPut, Times: 2, Fault: faulty.Late()})
	body := []byte("late")
	require.ErrorIs(t, s.PutIfAbsent(t.Context(), "new", body), faulty.ErrTimeout)
	require.ErrorIs(t, s.PutIfAbsent(t.Context(), "key", body), faulty.ErrTimeout)
	copy(body, "gone")
	_, err := s.Head(t.Context(), "new")
	require.ErrorIs(t, err, objstore.ErrNotFound)
	require.Equal(t, 2, s.Held())

	answers := s.Land(t.Context())
	require.NoError(t, answers[0])
	require.ErrorIs(t, answers[1], objstore.ErrExists)
	object, err := s.Get(t.Context(), "new", objstore.Whole)
	require.NoError(t, err)
	require.Equal(t, "late", string(object.Body))
	require.Zero(t, s.Held())
}

func TestFaults_AnswerAsStoresDo(t *testing.T) {
	s := newStore(t)
	s.Add(faulty.Rule{Op: objstore.OpPut, Fault: faulty.Conflict()})
	s.Add(faulty.Rule{Op: objstore.OpPut, Fault: faulty.Unavailable()})
	err := s.PutIfAbsent(t.Context(), "new", nil)
	require.ErrorIs(t, err, objstore.ErrConflict)
	var failure *objstore.Error
	require.ErrorAs(t, err, &failure)
	require.Equal(t, "new", failure.Key)
	require.Equal(t, "error", objstore.Outcome(s.PutIfAbsent(t.Context(), "new", nil)))
	require.NoError(t, s.PutIfAbsent(t.Context(), "new", nil), "nothing had happened")
}

func TestTruncateAndFlipBit_ChangeOnlyWhatIsRead(t *testing.T) {
	s := newStore(t)
	s.Add(faulty.Rule{Op: objstore.OpGet, Fault: faulty.Truncate()})
	object, err := s.Get(t.Context(), "key", objstore.Whole)
	require.NoError(t, err)
	require.Equal(t, "01234", string(object.Body))
	require.EqualValues(t, 10, object.Size)

	s.Add(faulty.Rule{Op: objstore.OpGet, Fault: faulty.FlipBit()})
	object, err = s.Get(t.Context(), "key", objstore.Whole)
	require.NoError(t, err)
	require.Len(t, object.Body, 10)
	require.NotEqual(t, "0123456789", string(object.Body))

	object, err = s.Get(t.Context(), "key", objstore.Whole)
	require.NoError(t, err)
	require.Equal(t, "0123456789", string(object.Body))
}

func TestSlowAndUntil_Wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		s.Add(faulty.Rule{Op: objstore.OpHead, Fault: faulty.Slow(time.Second)})
		began := time.Now()
		_, err := s.Head(t.Context(), "key")
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(began))

		release := make(chan struct{})
		s.Add(faulty.Rule{Op: objstore.OpPut, Times: 2, Fault: faulty.Until(release)})
		var put sync.WaitGroup
		put.Go(func() {
			if err := s.PutIfAbsent(t.Context(), "new", nil); err != nil {
				t.Errorf("put: %v", err)
			}
		})
		synctest.Wait()
		_, err = s.Head(t.Context(), "new")
		require.ErrorIs(t, err, objstore.ErrNotFound)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.PutIfAbsent(ctx, "other", nil), context.DeadlineExceeded)
		close(release)
		put.Wait()
	})
}

func TestList_BreaksOff(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.PutIfAbsent(t.Context(), "other", nil))
	s.Add(faulty.Rule{Op: objstore.OpList, Fault: faulty.ReplyLost()})
	s.Add(faulty.Rule{Op: objstore.OpList, Fault: faulty.Unavailable()})
	require.Equal(t, "key,error", listed(t, s))
	require.Equal(t, "error", listed(t, s))
	require.Equal(t, "key,other", listed(t, s))
}

func listed(t *testing.T, s objstore.Store) string {
	var all []string
	for info, err := range s.List(t.Context(), "", "") {
		if err != nil {
			info.Key = "error"
		}
		all = append(all, info.Key)
	}
	return strings.Join(all, ",")
}

func TestSeeded_RepeatsItself(t *testing.T) {
	rates := faulty.Rates{Unavailable: 0.1, ReplyLost: 0.1, Late: 0.2, Conflict: 0.1, Truncate: 0.2, FlipBit: 0.2}
	first := seededRun(t, 7, rates)
	require.Equal(t, first, seededRun(t, 7, rates))
	require.NotEqual(t, first, seededRun(t, 8, rates))
	for _, outcome := range []string{"conflict", "error", "exists", "ok"} {
		require.Contains(t, first, outcome)
	}
}

func seededRun(t *testing.T, seed uint64, rates faulty.Rates) []string {
	s := faulty.Seeded(objstore.NewMem(), seed, rates)
	var outcomes []string
	for i := range 200 {
		key := fmt.Sprint(i / 4)
		outcomes = append(outcomes, objstore.Outcome(s.PutIfAbsent(t.Context(), key, []byte("0123456789"))))
		object, err := s.Get(t.Context(), key, objstore.Whole)
		outcomes = append(outcomes, string(object.Body), objstore.Outcome(err))
	}
	return outcomes
}

func TestSetRates_HealsTheStore(t *testing.T) {
	s := faulty.Seeded(objstore.NewMem(), 1, faulty.Rates{Unavailable: 1})
	require.Error(t, s.PutIfAbsent(t.Context(), "key", nil))
	s.SetRates(faulty.Rates{})
	require.NoError(t, s.PutIfAbsent(t.Context(), "key", nil))
}
