package server

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func message(size int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(size)), make([]byte, size)...)
}

func TestFraming_FindsMessagesHoweverTheyAreCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOf(rapid.IntRange(0, 40)).Draw(t, "sizes")
		var body []byte
		var want, got []int
		for _, size := range sizes {
			body = append(body, message(size)...)
			want = append(want, size+messageHeaderBytes)
		}
		var f framing
		for len(body) > 0 {
			n := rapid.IntRange(1, len(body)).Draw(t, "n")
			got = append(got, f.scan(body[:n])...)
			body = body[n:]
		}
		require.Equal(t, want, got)
	})
}

func TestWindow_WaitsForTheHandlerAndForNothingElse(t *testing.T) {
	large := message(3 * windowBytes)
	w := newWindow(io.NopCloser(bytes.NewReader(append(large, message(1)...))))
	w.ask()
	read := make([]byte, len(large))
	_, err := io.ReadFull(w, read) // a message larger than the window gets through
	require.NoError(t, err)

	done := make(chan error, 1)
	go func() {
		_, err := w.Read(read)
		done <- err
	}()
	select {
	case <-done:
		require.Fail(t, "read on before the handler had the message")
	default:
	}
	w.received()
	require.NoError(t, <-done)
}

// A message that never ends counts, too: alone, and behind one that the handler has not
// taken.
func TestWindow_BoundsAMessageThatHasNotEnded(t *testing.T) {
	for name, before := range map[string][]byte{"alone": nil, "behind another": message(1)} {
		t.Run(name, func(t *testing.T) {
			w := newWindow(io.NopCloser(bytes.NewReader(append(before, message(8*windowBytes)...))))
			read, piece := 0, make([]byte, windowBytes/4)
			for !w.isFull() && read < 4*windowBytes {
				n, err := w.Read(piece)
				require.NoError(t, err)
				read += n
			}
			require.LessOrEqual(t, read, windowBytes+len(piece))
			if before != nil {
				w.ask()
				require.True(t, w.isFull(), "the handler takes the first message")
				w.received()
			}
			require.True(t, w.isFull(), "the handler is busy with something else")
			w.ask()
			require.False(t, w.isFull())
		})
	}
}

func TestWindow_CloseEndsAWaitingRead(t *testing.T) {
	large := message(2 * windowBytes)
	w := newWindow(io.NopCloser(bytes.NewReader(large)))
	w.ask()
	_, err := io.ReadFull(w, make([]byte, len(large)))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := w.Read(make([]byte, 1))
		done <- err
	}()
	require.NoError(t, w.Close())
	require.Error(t, <-done)
}
