package proxy

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
)

// halfClosing is a stream to a backend that is only half-closed.
type halfClosing struct{ grpc.ClientStream }

func (halfClosing) CloseSend() error { return nil }

// The timer may run out while the message is sent, and what it calls come later.
func TestIdle_IsNotASessionWhoseMessageHasJustGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &exchange{proxy: New(nil, nil, Config{Idle: time.Second}), call: &call{stream: halfClosing{}}}
		require.True(t, x.beginSending())
		time.Sleep(2 * time.Second)
		require.NoError(t, x.endSending())
		x.endIdle()
		require.NoError(t, x.refusal())
		time.Sleep(time.Second)
		x.endIdle()
		require.ErrorContains(t, x.refusal(), idleLimit)
	})
}

func TestStall_IsNotASessionThatHasEnded(t *testing.T) {
	for range 100 { // select picks at random
		done, stalled := make(chan error, 1), make(chan struct{}, 1)
		done <- nil
		stalled <- struct{}{}
		err, ended := endOrStall(done, stalled)
		require.NoError(t, err)
		require.True(t, ended)
	}
}
