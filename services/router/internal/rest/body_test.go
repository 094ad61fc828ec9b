package rest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/rpc"
)

func TestBody_WithMoreObjectsThanAnyBatchIsRefusedUndecoded(t *testing.T) {
	for count, refused := range map[int]bool{maxObjects - 2: false, maxObjects: true} {
		body := append([]byte(`{"records":[{"headers":[`), bytes.Repeat([]byte("{},"), count)...)
		body = append(bytes.TrimSuffix(body, []byte(",")), []byte("]}]}")...)
		_, err := checkBody(body, nil)
		var own *httpError
		require.Equal(t, refused, errors.As(err, &own), "%d objects: %v", count, err)
		if refused {
			require.Equal(t, http.StatusRequestEntityTooLarge, own.code)
		}
	}
}

func TestCountObjects_LeavesStringsAlone(t *testing.T) {
	require.Equal(t, 2, countObjects([]byte(`{"a{":"\\\"{{","b":[{}]}`)))
}

func TestBodies_AreBoundedTogether(t *testing.T) {
	h := &Handler{config: Config{MaxBodyBytes: 100, MaxInflightBytes: 150}}
	request := func(length int64) *http.Request {
		r, err := http.NewRequestWithContext(context.WithValue(t.Context(), requestKey{}, &request{}), http.MethodPost, "/", nil)
		require.NoError(t, err)
		r.ContentLength = length
		return r
	}
	first := request(-1) // counts for the largest
	require.NoError(t, h.hold(first))
	err := h.hold(request(60))
	require.Equal(t, http.StatusTooManyRequests, httpStatus(err, err))
	require.Equal(t, time.Second, rpc.RetryAfter(err))
	require.NoError(t, h.hold(request(50)))
	h.inFlight.Add(-requestOf(first).held)
	require.NoError(t, h.hold(request(60)))
}
