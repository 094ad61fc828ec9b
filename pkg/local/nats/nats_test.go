package nats

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStart_CarriesMessagesBetweenASocketAndTheProcess(t *testing.T) {
	s := ForTest(t)
	outside := s.Connect()
	inside, err := nats.Connect("", s.InProcess())
	require.NoError(t, err)
	defer inside.Close()
	messages, err := inside.SubscribeSync("s")
	require.NoError(t, err)
	require.NoError(t, inside.Flush())
	require.NoError(t, outside.Publish("s", []byte("hello")))
	m, err := messages.NextMsg(10 * time.Second)
	require.NoError(t, err)
	require.Equal(t, "hello", string(m.Data))
}

func TestRestart_KeepsThePort(t *testing.T) {
	s := ForTest(t)
	first := s.URL
	s.Restart()
	require.Equal(t, first, s.URL)
	require.True(t, s.Connect().IsConnected())
}
