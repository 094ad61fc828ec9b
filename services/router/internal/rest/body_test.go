package rest

import (
	"bytes"
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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

// 8 MiB of members with short names take 85 in a map.
func TestBody_WithAnyNumberOfMembersTakesNoMoreMemory(t *testing.T) {
	body := []byte("{")
	for i := range 500_000 {
		body = strconv.AppendInt(append(body, '"'), int64(i), 36)
		body = append(body, `":0,`...)
	}
	body = append(body, `"stream":"b"}`...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := checkBody(body, map[string]string{"stream": "a"})
	runtime.ReadMemStats(&after)
	require.ErrorContains(t, err, `names stream "b"`)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20))
}

func TestMask_IsTakenApartInSmallRequestsOnly(t *testing.T) {
	mask := strings.Repeat("a_,", 1000)
	_, err := checkBody([]byte(`{"mask":"`+mask+`"}`), nil)
	require.NoError(t, err)
	_, err = checkBody([]byte(`{"mask":"`+strings.Repeat(mask, 100)+`"}`), nil)
	require.ErrorContains(t, err, "at most 65536 bytes")
}
