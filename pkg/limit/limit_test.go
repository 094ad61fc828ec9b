package limit

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/samsa-io/samsa/pkg/rpc"
)

func exceeded(t *testing.T, err error) *Exceeded {
	t.Helper()
	var e *Exceeded
	require.ErrorAs(t, err, &e)
	return e
}

func TestRates_AllowASecondsWorthAtOnceAndThenTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(Rate{Requests: 10}, "x", nil)
		for range 10 {
			require.NoError(t, r.Take("a", Cost{Requests: 1}))
		}
		e := exceeded(t, r.Take("a", Cost{Requests: 1}))
		require.Equal(t, "x_requests_per_sec", e.Key)
		require.Equal(t, 100*time.Millisecond, e.Retry)
		require.NoError(t, r.Take("b", Cost{Requests: 1}), "another key has its own")
		time.Sleep(e.Retry)
		require.NoError(t, r.Take("a", Cost{Requests: 1}), "the hint was right")
	})
}

func TestRates_LetALargeBatchPassAndHaveItPay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(Rate{Bytes: 1000}, "x", nil)
		require.NoError(t, r.Take("a", Cost{Bytes: 5000}))
		e := exceeded(t, r.Take("a", Cost{Bytes: 1}))
		require.Equal(t, 4001*time.Millisecond, e.Retry)
	})
}

func TestRates_AreRefusedWithoutTakingAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(Rate{Requests: 100, Records: 10}, "x", nil)
		require.NoError(t, r.Take("a", Cost{Requests: 1, Records: 20}))
		for range 1000 {
			require.Equal(t, "x_records_per_sec", exceeded(t, r.Take("a", Cost{Requests: 1})).Key)
		}
		time.Sleep(1200 * time.Millisecond)
		require.NoError(t, r.Take("a", Cost{Requests: 1}))
	})
}

func TestRates_SlowSessionsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(Rate{Records: 100}, "x", nil)
		begun := time.Now()
		for range 6 {
			require.NoError(t, r.Wait(t.Context(), "a", Cost{Records: 100}, 5*time.Second))
		}
		require.InDelta(t, 4.0, time.Since(begun).Seconds(), 0.2)
		exceeded(t, r.Wait(t.Context(), "a", Cost{Records: 1}, 10*time.Millisecond))
		require.InDelta(t, 2.0, r.Charge("b", Cost{Records: 300}).Seconds(), 0.1)
	})
}

func TestRates_RememberABoundedNumberOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(Rate{Requests: 1}, "x", nil)
		for i := range 2 * MaxKeys {
			require.NoError(t, r.Take(fmt.Sprint(i), Cost{Requests: 1}))
		}
		require.Len(t, r.byKey, MaxKeys)
		exceeded(t, r.Take(fmt.Sprint(2*MaxKeys-1), Cost{Requests: 1}))
	})
}

func TestRates_WithoutALimitAreNone(t *testing.T) {
	var r *Rates
	require.Nil(t, NewRates(Rate{}, "x", nil))
	require.NoError(t, r.Take("a", Cost{Requests: 1 << 30}))
	require.NoError(t, r.Wait(t.Context(), "a", Cost{Requests: 1 << 30}, 0))
	require.Zero(t, r.Charge("a", Cost{Bytes: 1 << 30}))
	require.False(t, r.CountsRecords())
}

func TestPlaces_CountWhatAKeyHolds(t *testing.T) {
	m, err := NewMetrics("test", prometheus.NewRegistry())
	require.NoError(t, err)
	p := NewPlaces(2, "sessions", "router.token_sessions", m)
	first, err := p.Enter("a", "s")
	require.NoError(t, err)
	_, err = p.Enter("a", "s")
	require.NoError(t, err)
	_, err = p.Enter("a", "t")
	exceeded(t, err)
	_, err = p.Enter("b", "s")
	require.NoError(t, err)
	first()
	first()
	again, err := p.Enter("a", "s")
	require.NoError(t, err)
	_, err = p.Enter("a", "s")
	require.Error(t, err, "leaving twice gave one place back")
	again()
	require.Equal(t, 2.0, testutil.ToFloat64(m.refused.WithLabelValues("router.token_sessions")))
}

// An alert goes by the rate of refusals, which takes a series that was there before.
func TestMetrics_ShowEachLimitBeforeItIsMet(t *testing.T) {
	m, err := NewMetrics("test", prometheus.NewRegistry())
	require.NoError(t, err)
	NewRates(Rate{Requests: 1, Bytes: 1}, "x", m)
	NewPlaces(1, "sessions", "x_sessions", m)
	NewPlaces(0, "streams", "x_streams", m)
	NewRoom(1, "bytes", "x_room", m)
	require.NoError(t, testutil.CollectAndCompare(m.refused, strings.NewReader(`
# HELP samsa_test_limit_refused_total What was refused because a limit was met, by the limit's setting.
# TYPE samsa_test_limit_refused_total counter
samsa_test_limit_refused_total{limit="x_bytes_per_sec"} 0
samsa_test_limit_refused_total{limit="x_requests_per_sec"} 0
samsa_test_limit_refused_total{limit="x_room"} 0
samsa_test_limit_refused_total{limit="x_sessions"} 0
`)))
}

func TestDistinct_CountsThingsOnceAndForgetsThem(t *testing.T) {
	p := NewDistinct(1, "streams", "router.token_streams", nil)
	one, err := p.Enter("a", "s")
	require.NoError(t, err)
	two, err := p.Enter("a", "s")
	require.NoError(t, err)
	_, err = p.Enter("a", "t")
	require.Error(t, err)
	one()
	two()
	require.Empty(t, p.held)
	require.Empty(t, p.all)
	_, err = p.Enter("a", "t")
	require.NoError(t, err)
}

func TestExceeded_IsResourceExhaustedWithAHint(t *testing.T) {
	e := (&Exceeded{What: "sessions", Key: "router.token_sessions", Limit: 3}).RPC()
	require.Equal(t, codes.ResourceExhausted, e.GRPCCode())
	require.Equal(t, time.Second, rpc.RetryAfter(e))
	require.Equal(t, "router.token_sessions", e.Metadata["limit"])
	require.Contains(t, e.Message, "3 sessions are allowed (router.token_sessions)")
}

func TestRoom_IsForAllTogether(t *testing.T) {
	m, err := NewMetrics("router", prometheus.NewRegistry())
	require.NoError(t, err)
	r := NewRoom(10, "bytes of calls", "router.max_inflight_bytes", m)
	leave, err := r.Enter(6)
	require.NoError(t, err)
	_, err = r.Enter(5)
	exceeded(t, err)
	_, err = r.Enter(4)
	require.NoError(t, err)
	leave()
	leave()
	_, err = r.Enter(7)
	require.Error(t, err, "leaving twice gave room back once more")
	_, err = r.Enter(6)
	require.NoError(t, err)
	require.Equal(t, 2.0, testutil.ToFloat64(m.refused.WithLabelValues("router.max_inflight_bytes")))

	s := NewRoom(10, "bytes of calls", "router.max_inflight_bytes", m).Share()
	require.NoError(t, s.Grow(4))
	require.NoError(t, s.Grow(6))
	exceeded(t, s.Grow(1))
	s.Leave()
	s.Leave()
	require.NoError(t, s.Grow(10))
	exceeded(t, s.Grow(1))

	_, err = NewRoom(0, "", "", nil).Enter(1 << 60)
	require.NoError(t, err)
}
